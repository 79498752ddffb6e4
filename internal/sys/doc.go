// Package sys holds the kernel calls that more than one package needs and that
// the standard library lacks: rtnetlink requests for links, addresses and
// routes, and the opening of TUN, TAP and packet sockets.
//
//	nl, err := sys.OpenNetlink()
//	defer nl.Close()
//	eth0, err := nl.Index("eth0")
//	err = nl.SetLink(eth0, sys.Link{MTU: 9000, Up: true})
//	err = nl.AddAddress(eth0, netip.MustParsePrefix("10.1.0.2/24"))
//	err = nl.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.1.0.1"), 0)
//
// It is written for Linux and empty elsewhere. Errors name the operation and
// wrap the errno.
package sys
