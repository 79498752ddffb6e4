// Package lab brings up a whole network from one file: towpath hosts, real
// machines, the links between them, captures, and the programs that run on
// them. No privileges are needed.
//
//	spec, err := lab.Load("office.yaml") // finds the mistakes, starts nothing
//	net, err := lab.Up(ctx, spec, lab.Options{Output: os.Stdout, CaptureDir: "captures"})
//	err = net.Run(ctx) // until the programs have ended
//	net.Close(ctx)
//
// # The file
//
//	name: office
//	nodes:
//	  alice:   {addresses: {eth0: 10.1.0.2/24}, routes: [{to: default, via: 10.1.0.1}],
//	            run: ["ping -c 1 web", "get http://web/"]}
//	  gateway: {forward: true, addresses: {eth0: 10.1.0.1/24, eth1: 203.0.113.1/24}}
//	  web:     {kind: machine, addresses: {eth0: 203.0.113.2/24}, routes: [{to: default, via: 203.0.113.1}],
//	            serve: [{run: python3 -m http.server 80, port: 80}]}
//	links:
//	  - {endpoints: ["alice:eth0", "gateway:eth0"]}
//	  - {endpoints: ["gateway:eth1", "web:eth0"], mtu: 1400}
//
// A node is of one of two kinds. A host, the default, is a towpath host in
// this process; what it runs are the tools and services built in here. A
// machine is a network of this computer's kernel in namespaces of its own; what
// it runs are real programs. Both speak to each other over the links.
//
//	addresses   the interfaces, each with an address or a list of them: eth0: [10.0.0.1/24, "fd00::1/64"]
//	routes      {to: default or a prefix, via: a router's address}
//	forward     true: the node is a router
//	serve       what goes on for as long as the lab, as a command or as {run: COMMAND, port: N}
//	run         commands that are run one after the other
//
// On a host, serve knows http DIR and echo, and run knows get, ping and sleep.
// The port of a host's service is where it listens, instead of the usual one.
// That of a machine's is where the program will listen, and is waited for.
// Commands are split into words as a shell does it, with quotes but without
// variables, patterns and pipes; relative paths begin at the file's directory,
// where programs are started too.
//
// Every node knows the others' names. On the machines that is /etc/hosts.
//
// # Theory of operation
//
// [Load] reads the whole file before anything is started. YAML is turned into a
// tree with places (yaml.go), the tree into a [Spec] (read.go, command.go), and
// the Spec is looked at as a whole (check.go). All mistakes are reported
// together, each in one line with its place, what is wrong and what to write
// instead, and the offending line with a caret ([Errors]).
//
// [Up] goes through the Spec in the order of dependence: hosts and machines,
// links, addresses and routes, captures, services. Whatever fails, [Net.Close]
// takes down what is there, in the opposite order.
//
// Between two hosts a link is a cable. Between a host and a machine it is the
// machine's port, a TAP device or a packet socket, as the driver of the host's
// adapter. Between two machines it is a patch of two ports. In each case there
// is one adapter per link that sees all its packets: it has the link's counters
// and its capture.
//
// [Net.Run] runs the lists of commands, each node's in a goroutine. A service
// that ends by itself ends the lab, for it was to go on.
//
// # Limits
//
// Links join exactly two interfaces and have neither delay nor loss. There are
// no firewalls, events or expectations in the file yet. Real programs run on
// machines only.
package lab
