// Package pcap is the face of capturing that programs know from libpcap: its
// calls, by names that say which they are, over this library's parts.
//
//	h, err := pcap.OpenOffline("office.pcapng")
//	defer h.Close()
//	prog, err := h.Compile("tcp port 80", true, netip.Addr{})
//	err = h.SetFilter(prog)
//	for {
//		p, err := h.NextEx()
//		if err == io.EOF {
//			break
//		}
//		…
//	}
//
// # Theory of operation
//
//	files:    savefile.Source --\
//	devices:  live.Capture ------+-> Handle: filter, count --> NextEx, Loop, Dispatch
//	hosts:    capture.Tap, queue |
//	others:   any Source -------/
//
// What is captured on a host of ours waits in a queue of the handle's own, behind
// the filter. It has two banks of Options.BufferSize bytes, as the tap before it
// has; what does not fit is counted. Packets are seen as soon as they are there,
// whatever Options.Immediate says.
//
// A [Handle] reads packets from a [Source] and passes on those that its filter
// keeps. A source that can filter is given the program, and the handle then does
// not run it. Time stamps are cut to the handle's precision, microseconds unless
// nanoseconds are asked for.
//
// # The names
//
//	pcap_open_offline, pcap_fopen_offline   OpenOffline, NewOffline
//	pcap_open_dead                          OpenDead
//	pcap_create, pcap_set_…, pcap_activate  OpenLive with Options
//	pcap_open_live                          OpenLive
//	(captures on hosts of ours)             OpenAdapter, OpenAdapters, OpenTap
//	pcap_findalldevs, pcap_lookupnet        FindAllDevs, LookupNet
//	pcap_next_ex, _loop, _dispatch          NextEx, Loop, Dispatch
//	pcap_breakloop                          BreakLoop
//	pcap_compile, pcap_setfilter            Compile, SetFilter
//	pcap_offline_filter                     Match
//	pcap_datalink, _snapshot, _stats        Datalink, Snapshot, Stats
//	pcap_setdirection                       SetDirection
//	pcap_inject, pcap_sendpacket            Inject
//	pcap_list_datalinks, _set_datalink      ListDatalinks, SetDatalink
//	pcap_dump_open, _fopen, _open_append    DumpOpen, NewDumper, DumpOpenAppend
//	pcap_dump, _dump_flush, _ftell, _close  Dump, Flush, Ftell, Close
//	pcap_datalink_name_to_val and back      DatalinkByName, DatalinkName, DatalinkDescription
//
// Link types have the numbers of files (pcap-linktype(7)), where libpcap has a
// system's own: the two differ for RAW and four rare ones.
//
// # Limits
//
// Errors are values, and there is no last one to ask for. A handle is used by
// one goroutine at a time; BreakLoop may be called by any.
package pcap
