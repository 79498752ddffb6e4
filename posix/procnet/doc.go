// Package procnet writes the files by which Linux's programs see a network, from
// a host: those of /proc/net (proc(5)) and the settings under /proc/sys/net
// (ip(7), tcp(7)).
//
//	text, e := procnet.Read(h, "/proc/net/tcp")
//	e = procnet.Write(h, "/proc/sys/net/ipv4/ip_forward", "1\n")
//
// # Theory of operation
//
// A file is made when it is read, all at once, in the columns of the kernel's:
// programs look for some of them by their place. IPv4 addresses are numbers in
// the byte order of the machine, as there. What a host has not, or does not
// count, is 0; sockets have no owner, no inode and no place in memory.
//
// /proc/net/snmp and netstat have those counters only that a host keeps, and the
// ones that programs ask for by name. A super-segment counts as one packet.
//
// Limits: no directories. Of /proc/net the files in the table in files.go; unix
// sockets are not a host's. Adapters are counted as links count them.
package procnet
