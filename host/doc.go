// Package host is one host: its adapters, addresses and routes, the two walks
// that every packet takes, and its sockets as package net knows them.
//
//	alice, bob := host.New(host.Config{Name: "alice"}), host.New(host.Config{Name: "bob"})
//	a, b := cable.New(cable.Config{})
//	alice.AddAdapter("eth0", a)
//	bob.AddAdapter("eth0", b)
//	alice.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24"))
//	bob.AddAddress("eth0", netip.MustParsePrefix("10.0.0.2/24"))
//
//	l, _ := bob.Listen("tcp", ":80")
//	go http.Serve(l, handler)
//	c := http.Client{Transport: &http.Transport{DialContext: alice.DialContext}}
//	c.Get("http://10.0.0.2/")
//
//	alice.Close(ctx)
//	bob.Close(ctx)
//
// # Theory of operation
//
// The receive walk is told by receive.go, top to bottom: frameIn, ethernetIn,
// ipv4In or ipv6In, ipIn, then deliver or, in forward.go, forward; deliver
// leads to icmp.go, udp.go and tcp.go. The send walk is told by send.go:
// ipOut, postroute, linkOut. Packets that are forwarded join it at postroute.
//
// A [lane] is a run-to-completion worker without a goroutine: whoever has work
// locks it, does the work and unlocks it. It owns connections, their timers,
// a pool of packets and what is to be sent. Unlocking is where everything
// comes together: connections that were touched send what they may, output
// moves to the adapters' queues, the clock's timer is armed if something is
// due earlier than before; then the lock goes, sleepers are woken, adapters
// flushed, and the deliveries that this caused are run.
//
// Everything a packet's way depends on (adapters, addresses, routes, judges,
// settings) is one immutable config behind an atomic pointer, read once per
// lane hold. Writers take host.mu and publish a new one.
//
// Locks, in order: host.mu; a lane's mu; leaves (neighbour cache, listeners'
// accept queues, datagram queues, adapters' out queues). Before a lane's mu
// stand a socket's turns. Nothing is called under a lane's lock that could
// block: no driver, no other host.
//
// A host has no goroutine of its own. Its lane's timer runs on the clock's
// goroutine, long deliveries on short-lived ones that Close waits for.
//
// # Autoconfiguration
//
// An Ethernet adapter gets an IPv6 link-local address and looks for routers;
// what these announce becomes addresses and routes, published like any other
// change of the configuration. ip/ifaddr decides, under the lane's lock; the
// lane publishes after unlocking, for host.mu comes before it.
//
// # Memory
//
// A host counts what its sockets, reassembly and neighbour queues hold against
// Settings.MemoryMax and refuses with a reason beyond it; path MTUs, groups,
// handshakes and TIME-WAIT have bounds of their own.
//
// # Settings
//
// Settings holds what concerns the whole host, LinkSettings what concerns IP on
// one adapter; both can be read and written under Linux's names ([Host.Sysctl]).
// What holds for an adapter is worked out when a setting is written, so that the
// walk reads it by the adapter's index.
//
// Limits: no source routes. Sockets' own flows are divided among the ways of a
// route by their addresses only.
package host
