// Package lab brings up a whole network from one file: towpath hosts, real
// machines, the links between them, captures, and the programs that run on
// them. No privileges are needed.
//
//	spec, err := lab.Load("office.yaml") // finds the mistakes, starts nothing
//	net, err := lab.Up(ctx, spec, lab.Options{Output: os.Stdout, CaptureDir: "captures"})
//	all, err := net.Expect(ctx) // what became of the file's expectations
//	err = net.Run(ctx) // until the programs have ended
//	net.Close(ctx)
//
// # The file
//
//	name: office
//	nodes:
//	  alice:   {addresses: {eth0: 10.1.0.2/24}, routes: [{to: default, via: 10.1.0.1}],
//	            run: ["ping -c 1 web", "get http://web/"]}
//	  gateway: {forward: true, addresses: {eth0: 10.1.0.1/24, eth1: 203.0.113.1/24}, firewall: gateway.nft}
//	  web:     {kind: machine, addresses: {eth0: 203.0.113.2/24}, routes: [{to: default, via: 203.0.113.1}],
//	            serve: [{run: python3 -m http.server 80, port: 80}]}
//	links:
//	  - {endpoints: ["alice:eth0", "gateway:eth0"], impair: {delay: 10ms, loss: 1%}}
//	  - {endpoints: ["gateway:eth1", "web:eth0"], mtu: 1400}
//	expect:
//	  - {from: alice, get: "http://web/", within: 2s, status: 200}
//
// A node is of one of two kinds. A host, the default, is a towpath host in
// this process; what it runs are the tools and services built in here, and
// programs whose sockets it serves. A
// machine is a network of this computer's kernel in namespaces of its own; what
// it runs are real programs. Both speak to each other over the links.
//
//	addresses   the interfaces, each with an address or a list of them: eth0: [10.0.0.1/24, "fd00::1/64"]
//	routes      {to: default or a prefix, via: a router's address}
//	forward     true: the node is a router
//	firewall    a file of rules in nftables' language (package firewall/nft), in force on a host before it has addresses
//	mtu         of all interfaces, or of some: {eth0: 1400}; the link's, if it has one, is the same
//	serve       what goes on for as long as the lab, as a command or as {run: COMMAND, port: N, ready: TEXT}
//	run         commands that are run one after the other
//
// On a host, serve knows http DIR and echo, and run knows arp, get, ip, nc, ping,
// route, sleep, ss, sysctl and traceroute; any other word under run is a real
// program, whose sockets are the host's (package run), and so is one of these with
// words that it does not know here, if it is installed.
// The port of a host's service is where it listens, instead of the usual one.
// That of a machine's is where the program will listen, and is waited for; so is
// the text after ready, which the program prints when it can be used.
// Commands are split into words as a shell does it, with quotes but without
// variables, patterns and pipes; relative paths begin at the file's directory,
// where programs are started too.
//
// Every node knows the others' names. On the machines that is /etc/hosts.
//
// # Variables and numbers
//
// A value may have a name, and nodes and links a number:
//
//	vars: {net: 10.7}
//	nodes:
//	  hub:  {addresses: {eth0: $net.0.1/16}}
//	  leaf: {count: 500, addresses: {eth0: "$net.$(n/250+1).$(n%250+1)/16"}}
//	links:
//	  - {switch: lan, endpoints: ["hub:eth0", "leaf*:eth0"]}
//
// The nodes are leaf1, leaf2 and so on; with $n in the name it stands elsewhere.
// $n is the number in all that is said of a counted node or link, and $(…) a sum
// of whole numbers, with + - * / and %. A star stands, among the ends of a switch,
// for all nodes whose names fit. Dollars that mean nothing here are left to the
// shell.
//
// # Switches
//
// A link joins two interfaces. A switch joins any number, each by a link of its
// own to one of the switch's ports, p1, p2 and so on, which has its own capture
// and counters:
//
//	links:
//	  - {switch: lan, endpoints: ["a:eth0", "b:eth0", "c:eth0"], mtu: 9000}
//	  - switch: core
//	    endpoints:
//	      - {end: "web:eth0", vlan: 10, impair: {delay: 5ms}}
//	      - {end: lan, trunk: [10, 20]}
//
// An end is an interface or another switch. The packets of vlan have no tag
// there, those of trunk's VLANs have one; once a port of a switch has VLANs, the
// others are in VLAN 1. Between two switches both ports have the same VLANs, and
// no ring of switches may be closed. Impairments stand with an end, or for all
// ends alike with the switch.
//
// # Impairments
//
// What happens to a link's packets is written in the words of package
// link/netem, as a text or as a mapping, for both directions or for each. A
// direction is named by both ends or by the one that sends:
//
//	impair: delay 10ms jitter 2ms, loss 1%
//	impair: {delay: 10ms, jitter: 2ms, loss: 1%, rate: 10mbit}
//	impair: {"alice->gateway": {loss: 1%}, "gateway:eth0": {delay: 30ms}}
//
// All chance comes from seed, a key of the file, which is 1 unless it says
// another. Captures are taken below the impairments of one adapter, the one
// that gives them its name: they show what it sends after it was delayed or
// lost, and what it receives before.
//
// # Events
//
// What happens at a time after the lab has come up, once or again and again:
//
//	events:
//	  - {at: 5s, do: "link down gateway:eth1"}
//	  - {at: 8s, do: ["link up gateway:eth1", "impair alice->gateway delay 50ms"]}
//	  - {every: 10s, do: start alice ping -c 1 web}
//
// The actions are
//
//	link down NODE:INTERFACE       its link carries nothing, until link up
//	impair NODE->NODE IMPAIRMENT   for one way; for both: impair NODE:INTERFACE …; none for a good link
//	start NODE COMMAND             a service, tool or program, which goes on beside others
//	stop NODE PROGRAM              what was started, or serves, under this name
//	route add NODE PREFIX via ADDRESS
//	route del NODE PREFIX
//	sysctl NODE NAME=VALUE         of a host
//	crash NODE                     a host is gone at once, as in a loss of power
//	restart NODE                   and begins anew, with its addresses, routes and services
//
// An action that cannot be done makes the lab fail. An expectation that says at
// waits for that time: {from: alice, ping: web, at: 6s, fails: true}.
//
// # Expectations
//
// They are tried one after the other once the lab is up and its services are
// ready, before the commands under run. An expectation says who tries, and one
// of these:
//
//	ping: NODE      one answer is enough; with loss: "<5%", count requests (10) are sent, ten a second
//	get: URL        status: a number, else any below 400; contains: text of the answer
//	tcp: NODE:PORT  connects; send, receive: text, or refused: true
//	udp: NODE:PORT  send: text, again until receive: text has come; or refused: true
//
// Instead of nodes, addresses can be written. Each has to come true within 2s,
// unless within says another time. With fails: true it must not: whatever the
// reason, it is tried until then.
//
// Hosts try with their own sockets. On a machine this program is run again, and
// uses the kernel's; nothing needs to be installed for it, but main must call
// [Init] first.
//
// # JSON
//
// [Net.Document] and [Spec.Document] are all that is known of a lab, before and
// after: one document, and not lines of events. The program prints it with
// --json, with these names, which do not change (see [Document]):
//
//	lab, file, ok, error, seed
//	mistakes, warnings  [{file, line, column, message}]
//	nodes               [{name, kind, forward, interfaces: [{name, addresses}], forwarded, drops: {REASON: N}, firewall}]
//	firewall            {file, drops: [RULE], counters: [RULE], flows: [TEXT]}; a RULE is {family, table, chain, policy,
//	                    handle, comment, file, line, rule, packets, bytes}
//	switches            [{name, ports: [{name, end, vlan, trunk}], forwarded, flooded, stations, drops}]
//	links               [{ends, mtu, impair, packets, drops: {REASON: N}, capture: {file, packets, lost}}]
//	commands            [{node, command, seconds, ok, error}]
//	expectations        [{line, from, expect, tried, ok, detail, seconds}]
//
// # Theory of operation
//
// [Load] reads the whole file before anything is started. YAML is turned into a
// tree with places (yaml.go), which is expanded (expand.go), the tree into a [Spec] (read.go, command.go), and
// the Spec is looked at as a whole (check.go). All mistakes are reported
// together, each in one line with its place, what is wrong and what to write
// instead, and the offending line with a caret ([Errors]).
//
// [Up] makes sure that this system allows machines if there are any, and goes
// through the Spec in the order of dependence: hosts and machines, links with
// their impairments, captures, addresses and routes, services, each of which is
// waited for. Whatever fails, [Net.Close] takes down what is there, in the
// opposite order.
//
// Between two hosts a link is a cable. Between a host and a machine it is the
// machine's port, a TAP device or a packet socket, as the driver of the host's
// adapter. Between two machines it is a patch of two ports. In each case there
// is one adapter per link that sees all its packets: it has the link's counters,
// its capture, and the filter that impairs both directions. A switch is a bridge
// (package link/bridge), of which each port is at the end of such a link.
//
// [Net.Run] runs the lists of commands, each node's in a goroutine. A service
// that ends by itself ends the lab, for it was to go on.
//
// # Limits
//
// Machines do not crash. Real programs run on machines only. The same seed loses the same
// packets of a link in a row; which packets these are depends on when programs
// send, for a lab is in real time.
package lab
