// Package bench measures towpath beside what a user would pick instead: the
// gVisor netstack, Go's net package over the kernel's loopback, and net.Pipe;
// and its packet filters beside libpcap and golang.org/x/net/bpf.
//
//	go run ./cmd/bench                       # every line, every contender
//	go run ./cmd/bench -lines 'udp' -rounds 3 -time 100ms
//	go test -bench 'TCPStream/towpath$' -cpuprofile cpu.out
//
// It is a module of its own, so that no user of towpath downloads the peers.
//
// # Theory of operation
//
// A [World] is two hosts, a and b, and what joins them: a cable between two
// towpath hosts, a pipe between two gVisor stacks, the kernel's loopback. It
// offers the same few calls for all of them, shaped like package net, so that
// one piece of code does the same work on each.
//
// A [Load] is such work, going on in goroutines until it is stopped, and
// counting what it has done: bytes, round trips, datagrams. Loads are measured
// in the steady state: started, warmed up, collected (one GC), and then read
// twice. What the second reading has more is the [Window].
//
// A [Line] is a row of the table: a load, the worlds it runs in, what to make of
// a window, and the ratios to peers that towpath should reach. To add a line,
// add a file that registers one; nothing else needs to know of it.
//
// The command runs each line with each contender in a process of its own, so
// that heaps, pools and the scheduler start clean, and in rounds: every
// contender once, then every contender again, so that a slow minute of the
// machine hits all of them. A ratio is the median of the rounds' ratios; only
// ratios are worth comparing between machines or days.
package bench
