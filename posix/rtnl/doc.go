// Package rtnl answers the messages by which Linux's programs see and configure
// a network, from a host: routing netlink (rtnetlink(7)), socket monitoring
// (sock_diag(7)), and the requests of ioctl about interfaces (netdevice(7)).
//
//	for _, datagram := range rtnl.Answer(h, request, port) {
//		… to the program …
//	}
//
// # Theory of operation
//
// Messages of netlink are a header and a body of a fixed form, and attributes
// behind it (type, length, value), all in the byte order of the machine and
// aligned to four bytes. A program asks for one object, for all of them (a
// dump), or for a change. Answer makes the datagrams that the kernel would send
// back: the object; the objects one after the other, in datagrams that fit the
// smallest buffer that programs read with, and then NLMSG_DONE; or NLMSG_ERROR,
// with the number 0 for a change that was made and is to be acknowledged.
// Nothing is kept between requests.
//
// Links (link.go), addresses (address.go), routes (route.go), rules (rule.go)
// and neighbours (neighbor.go) are shown; addresses, routes and rules are added
// and removed too, and links are put up and down.
//
// Sockets (diag.go) are shown as the program ss asks for them, and filtered by the
// little programs that it sends along.
//
// Limits: nobody is told of changes. Routes of the local table are not shown,
// neighbours are not changed, and links are neither made nor removed. Of the
// requests of ioctl those that ask are answered, and those that set flags, an
// IPv4 address or its mask, and routes of IPv4. Sockets have no owner and no
// inode; unix, packet and netlink sockets are not shown.
package rtnl
