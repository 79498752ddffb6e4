package ip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/wire"
)

// forever is the lifetime of what has none (rtnetlink(7)).
const forever = 1<<32 - 1

// queueLen is the usual txqueuelen, of which a host's adapters have a queue of
// their own kind.
const queueLen = 1000

// A linkInfo is an interface.
type linkInfo struct {
	Index     int32    `json:"ifindex,omitempty"`
	Name      string   `json:"ifname"`
	Flags     []string `json:"flags,omitempty"`
	MTU       int      `json:"mtu,omitempty"`
	Qdisc     string   `json:"qdisc,omitempty"`
	State     string   `json:"operstate"`
	Mode      string   `json:"linkmode,omitempty"`
	Group     string   `json:"group,omitempty"`
	QueueLen  int      `json:"txqlen,omitempty"`
	Type      string   `json:"link_type,omitempty"`
	Address   string   `json:"address,omitempty"`
	Broadcast string   `json:"broadcast,omitempty"`
	Stats     *stats   `json:"stats64,omitempty"`
	// Addrs are nil if they were not asked for.
	Addrs *[]addrInfo `json:"addr_info,omitempty"`
}

type stats struct {
	Rx struct {
		Bytes   uint64 `json:"bytes"`
		Packets uint64 `json:"packets"`
		Errors  uint64 `json:"errors"`
		Dropped uint64 `json:"dropped"`
		Over    uint64 `json:"over_errors"`
		Group   uint64 `json:"multicast"`
	} `json:"rx"`
	Tx struct {
		Bytes      uint64 `json:"bytes"`
		Packets    uint64 `json:"packets"`
		Errors     uint64 `json:"errors"`
		Dropped    uint64 `json:"dropped"`
		Carrier    uint64 `json:"carrier_errors"`
		Collisions uint64 `json:"collisions"`
	} `json:"tx"`
}

// An addrInfo is an address.
type addrInfo struct {
	Family     string `json:"family,omitempty"`
	Local      string `json:"local"`
	Bits       int    `json:"prefixlen"`
	Broadcast  string `json:"broadcast,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Dynamic    bool   `json:"dynamic,omitempty"`
	Optimistic bool   `json:"optimistic,omitempty"`
	Deprecated bool   `json:"deprecated,omitempty"`
	Label      string `json:"label,omitempty"`
	Valid      uint32 `json:"valid_life_time,omitempty"`
	Preferred  uint32 `json:"preferred_life_time,omitempty"`
}

// A routeInfo is a route.
type routeInfo struct {
	Type     string    `json:"type,omitempty"`
	Dst      string    `json:"dst"`
	Gateway  string    `json:"gateway,omitempty"`
	Dev      string    `json:"dev,omitempty"`
	Protocol string    `json:"protocol,omitempty"`
	Scope    string    `json:"scope,omitempty"`
	Source   string    `json:"prefsrc,omitempty"`
	Metric   uint32    `json:"metric,omitempty"`
	Flags    []string  `json:"flags"`
	Metrics  []metrics `json:"metrics,omitempty"`
	Hops     []hopInfo `json:"nexthops,omitempty"`
	Cache    *[]string `json:"cache,omitempty"` // of what is looked up
}

type metrics struct {
	MTU int `json:"mtu"`
}

type hopInfo struct {
	Gateway string   `json:"gateway,omitempty"`
	Dev     string   `json:"dev"`
	Weight  int      `json:"weight"`
	Flags   []string `json:"flags"`
}

// A neighInfo is a neighbour.
type neighInfo struct {
	Dst   string   `json:"dst"`
	Dev   string   `json:"dev,omitempty"`
	MAC   string   `json:"lladdr,omitempty"`
	State []string `json:"state"`
}

// print writes objects as JSON, or each with line.
func print[T any](c *call, all []T, line func(*T)) error {
	if !c.json {
		for i := range all {
			line(&all[i])
		}
		return nil
	}
	if all == nil {
		all = []T{}
	}
	e := json.NewEncoder(c.Stdout)
	e.SetEscapeHTML(false)
	if c.pretty {
		e.SetIndent("", "    ")
	}
	return e.Encode(all)
}

// fail says what the original says, and is its exit status.
func (c *call) fail(status int, format string, args ...any) error {
	fmt.Fprintf(c.Stderr, format+"\n", args...)
	return tool.ExitStatus(status)
}

// refused is what the host has refused, as the kernel would.
func (c *call) refused(err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text := errno.Error()
		return c.fail(2, "RTNETLINK answers: %s", strings.ToUpper(text[:1])+text[1:])
	}
	return c.fail(2, "RTNETLINK answers: %v", err)
}

// adapter finds an interface that is to be changed.
func (c *call) adapter(name string) (*link.Adapter, error) {
	a := c.Host.Adapter(name)
	if a == nil {
		return nil, c.fail(1, "Cannot find device %q", name)
	}
	return a, nil
}

// shown makes sure that there is an interface which is to be shown, if one is
// named.
func (c *call) shown(name string) error {
	if name != "" && c.Host.Adapter(name) == nil {
		return c.fail(1, "Device %q does not exist.", name)
	}
	return nil
}

// name is an interface's name.
func (c *call) name(index int32) string {
	for _, a := range c.Host.Adapters() {
		if a.Index() == index {
			return a.Name()
		}
	}
	return fmt.Sprintf("if%d", index)
}

// wants reports whether an address is of the family that was asked for.
func (c *call) wants(a netip.Addr) bool { return c.family == 0 || a.Is4() == (c.family == 4) }

// showLinks shows interfaces, with their addresses or without.
func (c *call) showLinks(name string, addrs bool) error {
	if err := c.shown(name); err != nil {
		return err
	}
	var all []linkInfo
	for _, a := range c.Host.Adapters() {
		if name != "" && a.Name() != name {
			continue
		}
		l := c.link(a, addrs)
		if addrs && c.family != 0 && len(*l.Addrs) == 0 && name == "" {
			continue
		}
		all = append(all, l)
	}
	switch {
	case c.brief && addrs:
		return print(c, all, c.briefAddrLine)
	case c.brief:
		return print(c, all, c.briefLinkLine)
	case c.oneline && addrs:
		return print(c, all, c.addrOnelines)
	}
	return print(c, all, func(l *linkInfo) { c.linkLines(l, addrs) })
}

func (c *call) link(a *link.Adapter, addrs bool) linkInfo {
	caps := a.Capabilities()
	l := linkInfo{Index: a.Index(), Name: a.Name(), MTU: a.MTU(), Qdisc: "noqueue", State: "DOWN", Group: "default", QueueLen: queueLen}
	switch {
	case caps.Loopback:
		l.Type, l.Address, l.Broadcast = "loopback", wire.MAC{}.String(), wire.MAC{}.String()
		l.Flags = []string{"LOOPBACK"}
	case caps.Medium == link.MediumEthernet:
		l.Type, l.Address, l.Broadcast = "ether", a.MAC().String(), wire.Broadcast.String()
		l.Flags = []string{"BROADCAST", "MULTICAST"}
	default:
		l.Type = "none"
		l.Flags = []string{"POINTOPOINT", "MULTICAST", "NOARP"}
	}
	if a.Up() {
		l.Flags = append(l.Flags, "UP", "LOWER_UP")
		if l.State = "UP"; caps.Loopback {
			l.State = "UNKNOWN"
		}
	}
	if !addrs {
		l.Mode = "DEFAULT"
	}
	if c.stats {
		l.Stats = linkStats(a)
	}
	if addrs {
		l.Addrs = c.addrs(a)
		if c.family != 0 {
			l.Type, l.Address, l.Broadcast = "", "", "" // they are of no family
		}
	}
	if !c.brief {
		return l
	}
	b := linkInfo{Name: l.Name, State: l.State}
	if !addrs {
		b.Address, b.Flags = l.Address, l.Flags
		return b
	}
	b.Addrs = &[]addrInfo{}
	for _, x := range *l.Addrs {
		*b.Addrs = append(*b.Addrs, addrInfo{Local: x.Local, Bits: x.Bits})
	}
	return b
}

func linkStats(a *link.Adapter) *stats {
	var s stats
	var drops packet.Counters
	n := a.Stats()
	a.Drops(&drops)
	s.Rx.Bytes, s.Rx.Packets, s.Rx.Dropped = n.RxBytes, n.RxPackets, drops[packet.ReasonAdapterDownIn]
	s.Tx.Bytes, s.Tx.Packets, s.Tx.Dropped = n.TxBytes, n.TxPackets, n.Dropped-s.Rx.Dropped
	return &s
}

func (c *call) addrs(a *link.Adapter) *[]addrInfo {
	all := []addrInfo{}
	for _, x := range c.Host.Addresses().All() {
		ip := x.Prefix.Addr().WithZone("")
		if x.Adapter != a.Index() || !c.wants(ip) {
			continue
		}
		i := addrInfo{
			Family: "inet6", Local: ip.String(), Bits: x.Prefix.Bits(), Scope: scope(ip), Valid: forever, Preferred: forever,
			Dynamic: x.Origin == ifaddr.Autoconf && !ip.IsLinkLocalUnicast(), Optimistic: x.Optimistic, Deprecated: x.Deprecated,
		}
		if x.Deprecated {
			i.Preferred = 0
		}
		if ip.Is4() {
			i.Family, i.Label = "inet", a.Name()
			if b, ok := broadcast(x.Prefix); ok && !ip.IsLoopback() {
				i.Broadcast = b.String()
			}
		}
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b addrInfo) int { return cmp.Compare(a.Family, b.Family) }) // as the kernel keeps them
	return &all
}

func scope(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "host"
	case a.IsLinkLocalUnicast():
		return "link"
	}
	return "global"
}

// broadcast is the broadcast address of an IPv4 network (RFC 919).
func broadcast(p netip.Prefix) (netip.Addr, bool) {
	if p.Bits() >= 31 {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b), true
}

func (c *call) linkLines(l *linkInfo, addrs bool) {
	mode := ""
	if l.Mode != "" {
		mode = " mode " + l.Mode
	}
	nl := "\n"
	if c.oneline {
		nl = "\\"
	}
	fmt.Fprintf(c.Stdout, "%d: %s: <%s> mtu %d qdisc %s state %s%s group %s qlen %d",
		l.Index, l.Name, strings.Join(l.Flags, ","), l.MTU, l.Qdisc, l.State, mode, l.Group, l.QueueLen)
	if l.Type != "" {
		fmt.Fprintf(c.Stdout, "%s    link/%s", nl, l.Type)
	}
	if l.Address != "" {
		fmt.Fprintf(c.Stdout, " %s brd %s", l.Address, l.Broadcast)
	}
	if s := l.Stats; s != nil {
		fmt.Fprintf(c.Stdout, "%s    RX:  bytes packets errors dropped  missed   mcast           %s    ", nl, nl)
		fmt.Fprintf(c.Stdout, "%10d %7d %6d %7d %7d %7d ", s.Rx.Bytes, s.Rx.Packets, s.Rx.Errors, s.Rx.Dropped, s.Rx.Over, s.Rx.Group)
		fmt.Fprintf(c.Stdout, "%s    TX:  bytes packets errors dropped carrier collsns           %s    ", nl, nl)
		fmt.Fprintf(c.Stdout, "%10d %7d %6d %7d %7d %7d ", s.Tx.Bytes, s.Tx.Packets, s.Tx.Errors, s.Tx.Dropped, s.Tx.Carrier, s.Tx.Collisions)
	}
	fmt.Fprintln(c.Stdout)
	if addrs {
		for _, a := range *l.Addrs {
			fmt.Fprintf(c.Stdout, "    %s\n       valid_lft %s preferred_lft %s\n", a.line(), lifetime(a.Valid), lifetime(a.Preferred))
		}
	}
}

// line is an address without its lifetimes.
func (a *addrInfo) line() string {
	s := fmt.Sprintf("%s %s/%d", a.Family, a.Local, a.Bits)
	if a.Broadcast != "" {
		s += " brd " + a.Broadcast
	}
	s += " scope " + a.Scope + " "
	for _, f := range []struct {
		on   bool
		word string
	}{{a.Deprecated, "deprecated "}, {a.Dynamic, "dynamic "}, {a.Optimistic, "optimistic "}} {
		if f.on {
			s += f.word
		}
	}
	return s + a.Label
}

func lifetime(seconds uint32) string {
	if seconds == forever {
		return "forever"
	}
	return fmt.Sprintf("%dsec", seconds)
}

func (c *call) addrOnelines(l *linkInfo) {
	for _, a := range *l.Addrs {
		fmt.Fprintf(c.Stdout, "%d: %s    %s\\       valid_lft %s preferred_lft %s\n", l.Index, l.Name, a.line(), lifetime(a.Valid), lifetime(a.Preferred))
	}
}

func (c *call) briefAddrLine(l *linkInfo) {
	fmt.Fprintf(c.Stdout, "%-16s %-14s ", l.Name, l.State)
	for _, a := range *l.Addrs {
		fmt.Fprintf(c.Stdout, "%s/%d ", a.Local, a.Bits)
	}
	fmt.Fprintln(c.Stdout)
}

func (c *call) briefLinkLine(l *linkInfo) {
	fmt.Fprintf(c.Stdout, "%-16s %-14s %s <%s> \n", l.Name, l.State, l.Address, strings.Join(l.Flags, ","))
}

// showRoutes shows the main table's routes, of IPv4 unless IPv6 was asked for.
func (c *call) showRoutes(s routeSpec) error {
	if s.dev != "" {
		if _, err := c.adapter(s.dev); err != nil {
			return err
		}
	}
	six := c.family == 6 || c.family == 0 && s.Dst.Addr().Is6()
	var all []routeInfo
	for _, r := range c.Host.Routes().All() {
		if r.Dst.Addr().Is6() != six || s.Dst.IsValid() && r.Dst != s.Dst || s.dev != "" && c.name(r.Adapter) != s.dev {
			continue
		}
		i := c.route(r)
		if s.dev != "" {
			i.Dev = "" // it was asked for
		}
		all = append(all, i)
	}
	return print(c, all, c.routeLine)
}

var protocols = map[route.Protocol]string{route.Static: "static", route.Kernel: "kernel", route.RA: "ra", route.Redirect: "redirect"}

func (c *call) route(r route.Route) routeInfo {
	i := routeInfo{Dst: dstText(r.Dst), Protocol: protocols[r.Protocol], Metric: r.Metric, Flags: []string{}}
	if r.Source.IsValid() {
		i.Source = r.Source.WithZone("").String()
	}
	if r.MTU != 0 {
		i.Metrics = []metrics{{r.MTU}}
	}
	switch {
	case r.Kind != route.Unicast:
		i.Type = r.Kind.String()
	case r.Multi != nil:
		for _, h := range r.Multi.Hops {
			x := hopInfo{Dev: c.name(h.Adapter), Weight: h.Weight, Flags: []string{}}
			if h.Via.IsValid() {
				x.Gateway = h.Via.WithZone("").String()
			}
			i.Hops = append(i.Hops, x)
		}
	default:
		i.Dev = c.name(r.Adapter)
		if r.Via.IsValid() {
			i.Gateway = r.Via.WithZone("").String()
		} else if r.Dst.Addr().Is4() {
			i.Scope = "link"
		}
	}
	return i
}

// dstText is a destination as the original writes it: a host without its
// length.
func dstText(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "default"
	case p.IsSingleIP():
		return p.Addr().WithZone("").String()
	}
	return p.String()
}

func (c *call) routeLine(r *routeInfo) {
	var b strings.Builder
	for _, x := range []struct{ word, value string }{
		{"", r.Type}, {"", r.Dst}, {"via ", r.Gateway}, {"dev ", r.Dev}, {"proto ", r.Protocol}, {"scope ", r.Scope}, {"src ", r.Source},
	} {
		if x.value != "" {
			b.WriteString(x.word + x.value + " ")
		}
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, "metric %d ", r.Metric)
	}
	for _, m := range r.Metrics {
		fmt.Fprintf(&b, "mtu %d ", m.MTU)
	}
	for _, h := range r.Hops {
		b.WriteString("\n\tnexthop ")
		if h.Gateway != "" {
			b.WriteString("via " + h.Gateway + " ")
		}
		fmt.Fprintf(&b, "dev %s weight %d ", h.Dev, h.Weight)
	}
	if r.Cache != nil {
		b.WriteString("\n    cache ")
	}
	fmt.Fprintln(c.Stdout, b.String())
}

// getRoute shows by which way a packet would go.
func (c *call) getRoute(dst netip.Addr) error {
	cache := []string{}
	i := routeInfo{Dst: dst.WithZone("").String(), Flags: []string{}}
	if dst.Is4() {
		i.Cache = &cache
	}
	if _, ok := c.Host.Addresses().Local(dst); ok {
		i.Type, i.Dev, i.Source = "local", "lo", i.Dst
		return print(c, []routeInfo{i}, c.routeLine)
	}
	r, ok := c.Host.Routes().Lookup(dst)
	switch {
	case !ok:
		return c.refused(syscall.ENETUNREACH)
	case r.Kind == route.Blackhole:
		return c.refused(syscall.EINVAL)
	case r.Kind == route.Prohibit:
		return c.refused(syscall.EACCES)
	case r.Kind != route.Unicast:
		return c.refused(syscall.EHOSTUNREACH)
	case r.Multi != nil:
		r.Via, r.Adapter = r.Multi.Hops[0].Via, r.Multi.Hops[0].Adapter
	}
	next := dst
	i.Dev = c.name(r.Adapter)
	if r.Via.IsValid() {
		next, i.Gateway = r.Via, r.Via.WithZone("").String()
	}
	src, ok := r.Source, r.Source.IsValid()
	if !ok {
		src, ok = c.Host.Addresses().Source(r.Adapter, dst, next)
	}
	if ok {
		i.Source = src.WithZone("").String()
	}
	return print(c, []routeInfo{i}, c.routeLine)
}

// showNeighbors shows the neighbour cache.
func (c *call) showNeighbors(name string) error {
	if err := c.shown(name); err != nil {
		return err
	}
	var all []neighInfo
	for _, n := range c.Host.Neighbors() {
		dev := c.name(n.Adapter)
		if !c.wants(n.IP) || name != "" && dev != name {
			continue
		}
		i := neighInfo{Dst: n.IP.WithZone("").String(), Dev: dev, State: []string{strings.ToUpper(n.State.String())}}
		if name != "" {
			i.Dev = "" // it was asked for
		}
		if n.State != neigh.Incomplete && n.State != neigh.Failed {
			i.MAC = n.MAC.String()
		}
		all = append(all, i)
	}
	return print(c, all, func(n *neighInfo) {
		line := n.Dst + " "
		if n.Dev != "" {
			line += "dev " + n.Dev + " "
		}
		if n.MAC != "" {
			line += "lladdr " + n.MAC + " "
		}
		fmt.Fprintf(c.Stdout, "%s%s \n", line, strings.Join(n.State, ","))
	})
}
