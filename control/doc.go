// Package control lets other processes see and change a lab that is up, by HTTP
// over a unix socket that only its user can reach.
//
//	s, err := control.Listen(net, control.Options{Down: cancel}) // in the lab's process
//	defer s.Close()
//
//	c, err := control.Dial("office") // elsewhere; "": the only lab there is
//	err = c.Get(ctx, "/v1/nodes/alice", &node)
//
// # Paths
//
// Everything has a path. What it is comes as JSON, or as text for people if the
// request accepts text/plain or says ?text:
//
//	GET  /v1                         which lab this is: name, file, process, schema
//	GET  /v1/lab                     all that is known, see [lab.Document]
//	GET  /v1/nodes, /v1/nodes/NODE
//	GET  /v1/links, /v1/links/END    END is NODE:INTERFACE, either end of the link
//	GET  /v1/links/END/capture       the packets from now on, as a pcapng file without an end
//	GET  /v1/switches, /v1/switches/NAME
//	GET  /v1/switches/NAME/stations  who was heard at which port
//	GET  /v1/events                  one JSON object a line; ?after=N, ?kind=output, ?node=NODE, ?follow
//	POST /v1/actions                 {"do": "link down alice:eth0"}, in the words of a lab file's events
//	POST /v1/down                    takes the lab down
//	POST /v1/exec                    runs a program on a node, see below
//
// What is wrong with a request is told as {"error": TEXT}, with a status of 4xx;
// what could not be done with 500.
//
// To run a program, a connection is taken over (Upgrade: towpath-exec). Both
// sides then send JSON objects, one a line, see [Frame]: first the client what
// is to be run, and then its input; the server output, and last an exit status.
// The program ends when the client goes away.
//
// # Theory of operation
//
// A socket lies in the directory [Dir], which is the user's alone (mode 0700), as
// NAME.sock (mode 0600). Who begins to listen, and who looks for labs, holds a lock
// on the directory meanwhile. A socket that nobody answers at is that of a process
// that was killed, and whoever finds it removes it.
//
// Requests are bounded: headers and bodies to 1 MiB, and what a program reads or
// prints goes through pieces of 32 KiB, so that either side is held up by the
// other and nothing piles up.
//
// The numbers of schema are those of this package's objects: fields are added
// under the same number, and change their meaning under the next.
package control
