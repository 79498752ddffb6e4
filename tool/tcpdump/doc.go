// Package tcpdump is tcpdump: its options, its lines, its files and its exit
// statuses, over this library's capture packages.
//
//	status := tcpdump.Main(ctx, []string{"-n", "-r", "office.pcap", "tcp port 80"}, &tcpdump.Env{
//		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
//	})
//
// # Theory of operation
//
//	arguments → options → pcap.Handle → filter → sinks: printer, files, counter
//	            options.go              expr     print.go, rotate.go
//
// A command line is read as a whole before anything is opened. Where packets
// come from, beside files, is an [Env]'s [Devices]: the system's interfaces, or
// the adapters of a [Host], for which tcpdump is a [Tool] that a lab's hosts have
// built in. Text is written out when no packet is waiting, so that a reader of a
// pipe sees every packet at once without -l.
//
// # Files of -w
//
//	-C 10            a new file when one has more than 10 million bytes: f, f1, f2, …
//	-C 10 -W 5       five files in turn: f0 … f4, f0 …
//	-G 60            a new file every 60 s; %-letters in its name as in strftime(3)
//	-G 60 -W 5       and the end after the fifth
//	-G 60 -C 10      both; the numbers begin again with each new time
//	-G 60 -C 10 -W 5 both; five files in turn for each time, and no end
//
// Times are those of the packets, so a file that is read is divided as a live
// capture would have been.
//
// # Limits
//
// What is printed is what package dissect knows. Not there are -a, -b, -E, -f,
// -H, -m, -M, -T, -u and -Y; each is refused with its name. Errors have our
// words. Otherwise than with tcpdump:
//
//   - The program that -d lists is that of another compiler than libpcap's. The
//     two decide alike and are not the same.
//   - -c counts the packets of all files of -V, not of each.
//   - Numbers of interfaces in a file (LINUX_SLL2) are not given the names that
//     this system has for them.
//   - Files compressed with gzip are read.
//   - On a host there is no -Z, and addresses are printed as numbers. Relative
//     names of files begin at the lab file's directory, and the command of -z is
//     a program of the system, not of the host. The words inbound, outbound and
//     ifindex of an expression are known with -i any only; -Q works with all.
//     "any" is the adapters that there are when the capture begins.
package tcpdump
