// Package ip is the tool that shows and changes a host's adapters, addresses,
// routes and neighbours: ip, with the words, lines and JSON of iproute2's.
//
//	run, err := ip.Tool.Parse([]string{"-br", "addr"})
//	err = run(ctx, &tool.Env{Host: h, Stdout: os.Stdout, Stderr: os.Stderr})
//
// # What it knows
//
//	ip [-4 | -6] [-br] [-j] [-p] [-s] [-o] OBJECT COMMAND
//
//	ip addr  [show [dev] NAME] | add PREFIX dev NAME | del PREFIX dev NAME | flush dev NAME
//	ip link  [show [dev] NAME] | set [dev] NAME up | down
//	ip route [show [PREFIX] [dev NAME]] | get ADDRESS
//	ip route add | replace | del [KIND] PREFIX [via ADDRESS] [dev NAME] [src ADDRESS] [metric N] [mtu [lock] N]
//	ip neigh [show [dev] NAME]
//
// Objects and commands may be shortened, as with the original. What is not known
// is a [tool.Unknown], so that who has the original can run that.
//
// # Theory of operation
//
// A command line becomes a function (parse.go). What is shown is first an object
// with the names that the original's JSON has, and its lines are made from that
// (show.go): text and JSON say the same.
//
// Exit statuses are the original's: 1 for a wrong word or interface, 2 for what
// the host refuses.
package ip
