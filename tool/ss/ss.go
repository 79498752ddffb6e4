// Package ss is the tool that shows a host's sockets: ss, with the options,
// columns and words of iproute2's.
//
//	ss [-t] [-u] [-w] [-a | -l] [-n] [-i] [-4 | -6] [-H] [-s]
//
// Without -a and -l, what has a peer is shown; without -t, -u and -w, sockets of
// all kinds. -i adds what TCP knows of a connection. The option -p is taken, and
// says nothing: the programs are those of this process.
//
// Limits: ports are numbers always, as with -n. Filters, timers (-o), memory (-m)
// and details (-e) are not known, which [tool.Unknown] says.
package ss

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/wire"
)

// Tool is ss.
var Tool = tool.Tool{
	Name:  "ss",
	Usage: "ss [-t] [-u] [-w] [-a | -l] [-n] [-p] [-i] [-4 | -6] [-H] [-s]",
	Short: "shows sockets",
	Parse: Parse,
}

// options are what is to be shown.
type options struct {
	tcp, udp, raw  bool
	all, listening bool
	info           bool
	family         int // 0: both
	noHeader       bool
	summary        bool
}

// long are the long names of options.
var long = map[string]byte{
	"tcp": 't', "udp": 'u', "raw": 'w', "all": 'a', "listening": 'l', "numeric": 'n', "processes": 'p', "info": 'i',
	"ipv4": '4', "ipv6": '6', "no-header": 'H', "summary": 's',
}

// Parse reads ss's arguments.
func Parse(args []string) (tool.Run, error) {
	var o options
	for _, a := range args {
		letters, ok := strings.CutPrefix(a, "-")
		if !ok || letters == "" {
			return nil, tool.Unknown("filter " + a)
		}
		if word, ok := strings.CutPrefix(letters, "-"); ok {
			letters = string(rune(long[word]))
		}
		for _, c := range letters {
			if !o.set(c) {
				return nil, tool.Unknown("option " + a)
			}
		}
	}
	return func(_ context.Context, e *tool.Env) error {
		if o.summary {
			summary(e)
			return nil
		}
		o.show(e)
		return nil
	}, nil
}

func (o *options) set(c rune) bool {
	switch c {
	case 't':
		o.tcp = true
	case 'u':
		o.udp = true
	case 'w':
		o.raw = true
	case 'a':
		o.all = true
	case 'l':
		o.listening = true
	case 'i':
		o.info = true
	case '4':
		o.family = host.AFInet
	case '6':
		o.family = host.AFInet6
	case 'H':
		o.noHeader = true
	case 's':
		o.summary = true
	case 'n', 'p', 'r':
	default:
		return false
	}
	return true
}

// states are TCP's in ss's words.
var states = map[tcp.State]string{
	tcp.StateListen: "LISTEN", tcp.StateSynSent: "SYN-SENT", tcp.StateSynReceived: "SYN-RECV", tcp.StateEstablished: "ESTAB",
	tcp.StateFinWait1: "FIN-WAIT-1", tcp.StateFinWait2: "FIN-WAIT-2", tcp.StateCloseWait: "CLOSE-WAIT", tcp.StateClosing: "CLOSING",
	tcp.StateLastAck: "LAST-ACK", tcp.StateTimeWait: "TIME-WAIT", tcp.StateClosed: "UNCONN",
}

// netid is the kind of a socket.
func netid(s *host.SocketInfo) string {
	switch {
	case s.Type == host.SockRaw:
		return "raw"
	case s.Type == host.SockStream:
		return "tcp"
	case s.Proto == wire.ProtoICMP || s.Proto == wire.ProtoICMPv6:
		return "icmp"
	}
	return "udp"
}

// state is a socket's state.
func state(s *host.SocketInfo) string {
	switch {
	case s.Type == host.SockStream:
		return states[s.TCP.State]
	case s.Remote.IsValid() && s.Remote.Port() != 0:
		return "ESTAB"
	}
	return "UNCONN"
}

// wanted reports whether a socket is to be shown.
func (o *options) wanted(s *host.SocketInfo) bool {
	kinds := o.tcp || o.udp || o.raw
	switch id := netid(s); {
	case kinds && id == "tcp" && !o.tcp, kinds && id == "raw" && !o.raw, kinds && (id == "udp" || id == "icmp") && !o.udp:
		return false
	case o.family == host.AFInet && s.Family != host.AFInet, o.family == host.AFInet6 && s.Family != host.AFInet6:
		return false
	}
	st := state(s)
	silent := st == "LISTEN" || st == "UNCONN"
	switch {
	case o.all:
		return true
	case o.listening:
		return silent
	}
	return !silent && st != "TIME-WAIT" && st != "SYN-RECV"
}

// A row is a socket's line.
type row struct {
	netid, state, recv, send string
	local, localPort         string
	peer, peerPort           string
	more                     string
}

func (o *options) show(e *tool.Env) {
	var rows []row
	now := e.Host.Clock().Now()
	for _, s := range e.Host.Sockets() {
		if !o.wanted(&s) {
			continue
		}
		r := row{netid: netid(&s), state: state(&s), recv: strconv.Itoa(s.RxQueue), send: strconv.Itoa(s.TxQueue)}
		r.local, r.localPort = place(s.Local, &s)
		r.peer, r.peerPort = place(s.Remote, &s)
		if o.info && s.Type == host.SockStream {
			r.more = "\n\t " + info(&s.TCP, now)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(order(a.netid), order(b.netid)), cmp.Compare(a.local, b.local), cmp.Compare(a.localPort, b.localPort), cmp.Compare(a.peer+a.peerPort, b.peer+b.peerPort))
	})
	one := 0
	for _, on := range []bool{o.tcp, o.udp, o.raw} {
		if on {
			one++
		}
	}
	print(e.Stdout, rows, one != 1, o.noHeader)
}

func order(netid string) int { return slices.Index([]string{"icmp", "raw", "udp", "tcp"}, netid) }

// place is an address and a port as ss writes them.
func place(a netip.AddrPort, s *host.SocketInfo) (addr, port string) {
	if port = "*"; a.IsValid() && a.Port() != 0 {
		port = strconv.Itoa(int(a.Port()))
	}
	ip := a.Addr().Unmap()
	switch {
	case ip.IsValid() && !ip.IsUnspecified():
		if addr = ip.String(); ip.Is6() || s.Family == host.AFInet6 {
			if ip.Is4() {
				addr = "::ffff:" + addr
			}
			addr = "[" + addr + "]"
		}
	case s.Family == host.AFInet:
		addr = "0.0.0.0"
	case s.V6Only || s.Type == host.SockRaw:
		addr = "[::]"
	default:
		addr = "*"
	}
	return addr, port
}

// print writes rows in columns: an address ends, and a port begins, at its colon.
func print(w io.Writer, rows []row, withID, noHeader bool) {
	head := row{"Netid", "State", "Recv-Q", "Send-Q", "Local Address", "Port", "Peer Address", "Port", ""}
	columns := []func(*row) string{
		func(r *row) string { return r.netid }, func(r *row) string { return r.state },
		func(r *row) string { return r.recv }, func(r *row) string { return r.send },
		func(r *row) string { return r.local }, func(r *row) string { return r.localPort },
		func(r *row) string { return r.peer }, func(r *row) string { return r.peerPort },
	}
	if !noHeader {
		rows = append([]row{head}, rows...)
	}
	widths := make([]int, len(columns))
	for i := range rows {
		for k, text := range columns {
			widths[k] = max(widths[k], len(text(&rows[i])))
		}
	}
	for i := range rows {
		r := &rows[i]
		if withID {
			fmt.Fprintf(w, "%-*s ", widths[0], r.netid)
		}
		fmt.Fprintf(w, "%-*s %-*s %-*s %*s:%-*s %*s:%-*s ", widths[1], r.state, widths[2], r.recv, widths[3], r.send,
			widths[4], r.local, widths[5], r.localPort, widths[6], r.peer, widths[7], r.peerPort)
		if i == 0 && !noHeader {
			fmt.Fprint(w, "Process")
		}
		fmt.Fprintf(w, "%s\n", r.more)
	}
}

// info is what TCP knows of a connection, in ss's words.
func info(t *tcp.Info, now time.Duration) string {
	if t.State == tcp.StateListen || t.State == tcp.StateTimeWait {
		return ""
	}
	var f []string
	add := func(format string, args ...any) { f = append(f, fmt.Sprintf(format, args...)) }
	for _, x := range []struct {
		on   bool
		word string
	}{{t.Timestamps, "ts"}, {t.SACK, "sack"}, {t.ECN, "ecn"}} {
		if x.on {
			add("%s", x.word)
		}
	}
	add("%s", t.Congestion)
	if t.WindowScale {
		add("wscale:%d,%d", t.SndWScale, t.RcvWScale)
	}
	if t.Backoff > 0 {
		add("backoff:%d", t.Backoff)
	}
	add("rto:%s", millis(t.RTO))
	if t.RTT > 0 {
		add("rtt:%s/%s", millis(t.RTT), millis(t.RTTVar))
	}
	if t.ATO > 0 {
		add("ato:%s", millis(t.ATO))
	}
	mss := max(t.SndMSS, 1)
	add("mss:%d rcvmss:%d advmss:%d cwnd:%d", t.SndMSS, t.RcvMSS, t.AdvMSS, max(t.Cwnd/mss, 1))
	if t.Ssthresh > 0 && t.Ssthresh < 1<<30 {
		add("ssthresh:%d", t.Ssthresh/mss)
	}
	for _, x := range []struct {
		word string
		n    uint64
	}{
		{"bytes_sent", t.BytesOut}, {"bytes_retrans", t.BytesRetrans}, {"bytes_acked", t.BytesAcked}, {"bytes_received", t.BytesIn},
		{"segs_out", uint64(t.SegsOut)}, {"segs_in", uint64(t.SegsIn)}, {"data_segs_out", uint64(t.DataSegsOut)}, {"data_segs_in", uint64(t.DataSegsIn)},
	} {
		if x.n > 0 {
			add("%s:%d", x.word, x.n)
		}
	}
	for _, x := range []struct {
		word string
		at   time.Duration
	}{{"lastsnd", t.LastDataSent}, {"lastrcv", t.LastDataRcvd}, {"lastack", t.LastRcvd}} {
		if x.at > 0 {
			add("%s:%d", x.word, (now - x.at).Milliseconds())
		}
	}
	if t.DeliveryRate > 0 {
		add("delivery_rate %dbps", 8*t.DeliveryRate)
	}
	if t.Unacked > 0 {
		add("unacked:%d", (t.Unacked+mss-1)/mss)
	}
	if t.Retrans > 0 {
		add("retrans:%d/%d", t.Retransmits, t.Retrans)
	}
	if t.Lost > 0 {
		add("lost:%d", (t.Lost+mss-1)/mss)
	}
	if t.MinRTT > 0 {
		add("minrtt:%s", millis(t.MinRTT))
	}
	return strings.Join(f, " ")
}

// millis is a time in milliseconds, as ss writes it.
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(time.Microsecond))/float64(time.Millisecond), 'g', -1, 64)
}

// summary counts sockets.
func summary(e *tool.Env) {
	var estab, closed, wait int
	count := map[string][2]int{} // by kind: of IPv4 and IPv6
	total := [2]int{}
	for _, s := range e.Host.Sockets() {
		id, six := netid(&s), 0
		if s.Family == host.AFInet6 {
			six = 1
		}
		if id == "tcp" {
			switch state(&s) {
			case "ESTAB":
				estab++
			case "TIME-WAIT":
				wait++
				closed++
				continue
			}
		}
		n := count[id]
		n[six]++
		count[id] = n
		total[six]++
	}
	t := count["tcp"]
	fmt.Fprintf(e.Stdout, "Total: %d\nTCP:   %d (estab %d, closed %d, orphaned 0, timewait %d)\n\n", total[0]+total[1], t[0]+t[1]+wait, estab, closed, wait)
	fmt.Fprintf(e.Stdout, "Transport Total     IP        IPv6\n")
	for _, x := range []struct {
		name string
		n    [2]int
	}{{"RAW", count["raw"]}, {"UDP", count["udp"]}, {"TCP", t}, {"INET", total}, {"FRAG", [2]int{}}} {
		fmt.Fprintf(e.Stdout, "%-9s %-9d %-9d %-9d\n", x.name+"\t ", x.n[0]+x.n[1], x.n[0], x.n[1])
	}
	fmt.Fprintln(e.Stdout)
}
