// Package cc holds TCP's congestion controllers: how many bytes a sender may
// have in flight.
//
//	var r cc.Reno
//	r.Init(1448, cc.InitialWindow(1448), cc.Unset)
//	r.OnAck(cc.Ack{Now: now, Acked: 2896, InFlight: 14480, Limited: true})
//	window := r.Cwnd()
//
// # Theory of operation
//
// The work is divided between the connection and its controller as RFC 5681
// divides loss recovery from congestion control. The connection finds out that
// data was delivered or lost, decides what is sent again, and keeps the
// temporary allowances of fast recovery (one segment more for every duplicate
// acknowledgment) to itself. The controller is told what happened, in the
// words of [Controller], and answers with one number, Cwnd, in bytes. It may
// also ask for pacing.
//
// [Cubic] (RFC 9438, with HyStart++) is what connections use that ask for
// nothing; [Reno] is the plain one; [DCTCP] is for networks that mark early; [BBR]
// goes by the rate at which data arrives and not by loss. More than windows is
// told to those that have the methods of [Sampler], [ECN] or [Marker].
//
// A controller counts bytes, never segments or acknowledgments (RFC 3465), so
// one acknowledgment for a 64 KiB super-segment opens the window as far as
// forty-four small ones.
//
// It has no clock, timer, lock or memory of its own beyond its struct, and is
// guarded by whatever guards its connection.
//
// RFCs: 3465, 5681, 6582, 6928, 7661 (in part), 8257, 9406, 9438; drafts:
// ietf-ccwg-bbr, cheng-iccrg-delivery-rate-estimation.
package cc
