// Package link is the lower edge of a host: adapters, the contracts of the
// drivers, filters and protocols that meet at them, and the work that moves
// packets between them without a standing goroutine.
//
//	a, b := cable.New(cable.Config{MTU: 1500})
//	left := link.NewAdapter("eth0", 1, a)
//	left.Bind(protocol)
//	left.Open()
//
// # Theory of operation
//
//	             protocols (a host)
//	  Receive ^                    | Enqueue, under the lane's lock
//	          |                    v
//	     +----------------------------------+
//	     | Adapter       out queue          |
//	     |   ^                 | Flush, after unlocking
//	     |   |  FilterModule   v            |
//	     |   |  FilterModule   |            |
//	     |  taps           cut, complete    |
//	     |   ^                taps          |
//	     +---|-----------------|------------+
//	Indicate |                 v Send
//	             Miniport (driver)
//
// Sending has two halves. While a lane is locked it only puts packets on its
// adapters' out queues, which fixes their order. After unlocking, the caller
// flushes those adapters: packets pass the filters, super-segments are cut and
// partial checksums completed where the driver cannot carry them, taps look,
// and the driver gets the batch.
//
// A driver whose peer is in this process does not call it. It puts the packets
// on a [Queue] and adds the queue to the caller's [Work]; the caller runs the
// Work when it holds no lock. Each queue has one runner at a time, delivers at
// most 64 packets a run, and so at most 64 a lane hold. A caller who has done
// 16 runs leaves the rest to one short-lived goroutine of its [Group]; a sender
// who finds a queue long becomes a runner too, which slows it down to the pace
// of delivery. Nothing here starts a goroutine that outlives its work.
//
// Locks: an adapter's flush lock, then its transmit lock, then a queue's leaf
// lock; a queue's run lock, then whatever Receive locks. Neither is taken by
// code that holds a lane.
package link
