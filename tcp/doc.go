// Package tcp is the state machine of one TCP connection. It does no I/O and
// has no goroutine, clock, lock or address: a host hands it segments, calls
// and the time, and takes the segments it makes.
//
//	var c tcp.Conn
//	c.Init(&tcp.Config{LocalPort: 1024, RemotePort: 80, ISN: isn, MSS: 1460}, &pool, out)
//	c.Connect(now)
//	...
//	c.Receive(now, p) // each segment of a batch
//	c.Write(request)  // what the application says
//	c.Output(now)     // once, after all of them
//	if c.Events()&tcp.EventReadable != 0 { ... }
//	wheel.Set(c.Deadline())
//
// # Theory of operation
//
// A [Conn] has three ways in and one way out. Receive takes what the network
// brings, the calls (Write, Append, Shutdown, Accept, …) what the application
// wants, Timeout the passing of time. They change state and note what is owed;
// Output looks at the state and sends it, through the one-method interface of
// the same name. So an acknowledgment and the answer to what it acknowledges
// leave as one segment, if both are there by the time of Output. What an RFC
// wants answered segment by segment, such as duplicate acknowledgments and
// challenges, is sent by Receive itself. Whom to wake is read from Events
// after the batch.
//
// # The sequence spaces
//
// Sending (the names of RFC 9293 §3.3.1, in Go):
//
//	          acknowledged |  in flight       |  may be sent    |
//	   iss                 sndUna   rtxNxt    sndNxt      una+wnd     sndEnd
//	----|--------------------|--------|---------|------------|-----------|--FIN
//	   SYN                   |        |         |                        |
//	                         | first byte of    | nxtCur                 |
//	                         | the send queue   |                        end of queue
//	                                  rtxCur: next to be sent again after a timeout
//
// The SYN has the number iss, the FIN the number sndEnd, once finSent. Between
// them sequence numbers and bytes of the send queue correspond; two cursors
// remember where in the queue sndNxt and rtxNxt lie, so nothing is searched.
//
// Receiving:
//
//	  read      taken, not accepted     rq: in order      ooo: behind holes
//	--------|-----------------------|------------------|....[   ]...[  ]...|
//	        |<------------- rcvUsed ------------------>|                   |
//	                                              rcvNxt               rcvAdv
//
// rcvAdv is the right edge of the window that the peer has been told; it never
// moves left. The window offered is what rcvBuf has free beyond rcvUsed.
//
// # The life of a byte
//
// Write copies it into a chunk, or Append brings a chunk that the application's
// goroutine has filled without the lock; the send queue holds a reference.
// Output makes a packet that refers to the chunk too (or holds a copy, of a few
// bytes), writes the header in front, and hands it out. The receiving
// connection pulls the headers off and puts the packet on its queue; Take gives
// packets to the reader, who copies the byte out, and Accept opens the window.
// The acknowledgment lets the sender drop its reference. A byte is copied once
// on each side, by the applications' own calls.
//
// Super-segments pass whole: Output makes a packet of many segments' payload if
// the route allows it, always whole segments but for the end of the queue, and
// marks the segment size. Receive counts them as as many segments.
//
// # Loss
//
// What is in flight is judged by one of three states (caState). Open: nothing
// is missing. Recovery: three duplicate acknowledgments have told of a loss;
// the first segment is repeated, then one for each partial acknowledgment
// (NewReno), while each duplicate lets something new go. Loss: a timeout has;
// all in flight is sent again as the window opens from one segment, skipping
// what an acknowledgment covers. The congestion window is a cc.Controller's;
// the allowance for duplicates (inflate) is added here. With selective
// acknowledgments a scoreboard takes the place of rtxNxt and inflate. A
// reduction that proves needless is taken back (undo).
//
// # Acknowledging
//
// The first 16 segments of a connection are acknowledged at once, because the
// peer is in slow start. As soon as data is sent in answer to data the
// connection is a conversation (pingpong), and small segments are acknowledged
// by the answer, or after 40 ms; a timer that expires ends the conversation.
// More than one full segment, anything around a hole, and a FIN are
// acknowledged by the next Output.
//
// # Time
//
// A timer is an instant in a field; setting it is a store. The host keeps one
// entry on its wheel for the earliest, and may be late in moving it back.
// Round-trip times are taken from one segment at a time with the clock's full
// resolution, by timestamps where that segment had to be repeated.
//
// # Pacing
//
// A controller that wants a rate, or a rate that somebody has set, makes the
// connection have a flow: Output stops when the next packet is not due, and the
// connection's timer has it go on. There is no queue but the send queue, and
// connections without a flow know nothing of it. The flow also measures at
// which rate data is delivered, for controllers that go by that.
//
// # Memory
//
// An idle connection holds no packet and no chunk. Buffers begin at 256 KiB
// and grow up to their maxima only while the data rate times the shortest
// round trip ever measured needs it. The receive queue may cost twice its
// buffer and a little; beyond that small packets are packed together, and
// out-of-order ones refused.
//
// # Limits
//
// Data on a SYN is not taken, except by Fast
// Open, but left for the peer to repeat.
//
// RFCs: 1122, 1191 (reaction), 1337 (on demand), 2018, 2385, 2883, 3042, 3168, 3465, 3522 (detection), 4821, 5482 (without its option), 5681, 5927 (the check),
// 5682, 5961, 6093, 6191, 6298, 6528 (the host's), 6582, 6675, 6691, 6928, 6937, 7323, 7413,
// 7661 (in part), 8257, 8985, 9293, 9406, 9438.
package tcp
