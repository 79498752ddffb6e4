package host

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A lane owns connections, sockets and their timers, and everything that the
// walk touches without a lock of its own. All fields are guarded by mu.
type lane struct {
	mu      sync.Mutex
	host    *Host
	conf    *config       // this hold's configuration
	now     time.Duration // this hold's instant
	judging hook.Context  // what judges are told; here so that it is not allocated
	pool    packet.Pool
	rand    *rand.Rand

	wheel   clock.Wheel
	timer   clock.Timer   // calls tick
	timerAt time.Duration // what timer is armed for, or Never
	rearm   bool          // timerAt has moved earlier in this hold

	out   []packet.List // by adapter: what this hold has made
	dirty []int32       // the adapters that have some

	touched *tcpSocket // connections to run at the end of the hold
	wakes   []chan struct{}

	tcp       connTable
	timeWait  timeWaits
	ports     portTable // listeners, datagram sockets and bound ports
	raws      []*udpSocket
	packets   []*packetSocket
	packetID  uint32 // of the last one
	linear    []byte // what filters look at, of packets that are in pieces
	fastPeers fastPeers
	pings     map[uint16]*pingWait
	pingID    uint16
	sockets   map[closer]struct{} // all open sockets, for close

	neighTimer clock.Entry
	pmtuTimer  clock.Entry
	fragTimer  clock.Entry
	groupTimer clock.Entry
	nodes      []group.Key // solicited-node groups that are joined
	named      []int32     // adapters that have a link-local address, as groups were told of

	auto          *ifaddr.Auto
	autoTimer     clock.Entry
	autoChanged   bool // publish after unlocking
	icmpLimits    icmpLimits
	defended      map[netip.Addr]time.Duration // our addresses that others have used, since when
	redirects     []redirect                   // the oldest first
	redirectTimer clock.Entry
	unlooped      bool // what is sent to groups is not looped back

	drops packet.Counters
	stats Stats

	challenges challenges
	closed     bool
}

// closer is any socket, as the lane's close sees it.
type closer interface{ closeLocked(ln *lane) }

func (ln *lane) init(h *Host, src rand.Source) {
	ln.host = h
	ln.rand = rand.New(src)
	ln.timerAt = clock.Never
	ln.tcp.seed = ln.rand.Uint64()
	ln.pingID = uint16(ln.rand.Uint32())
	ln.sockets = make(map[closer]struct{})
	ln.auto = ifaddr.NewAuto((*autoActions)(ln), ln.rand)
	ln.ports.init()
	ln.neighTimer.Fire = func(now time.Duration) {
		h.neigh.Timeout(now, (*neighSender)(ln))
		ln.schedule(&ln.neighTimer, h.neigh.Deadline())
	}
	ln.fragTimer.Fire = func(now time.Duration) {
		h.frags.Timeout(now, (*fragSender)(ln))
		ln.schedule(&ln.fragTimer, h.frags.Deadline())
	}
	ln.groupTimer.Fire = func(now time.Duration) {
		ln.nodeGroups()
		h.groups.Timeout(now, (*groupSender)(ln))
		ln.schedule(&ln.groupTimer, h.groups.Deadline())
	}
}

// lock begins a hold. It is the one seam through which packets, timers and
// socket operations enter the lane.
func (ln *lane) lock() {
	ln.lockOnly()
	ln.tell()
}

// lockOnly is lock for holds that may not need the time: until tell, now is
// that of an earlier hold.
func (ln *lane) lockOnly() {
	ln.mu.Lock()
	ln.conf = ln.host.conf.Load()
}

// tell reads the clock.
func (ln *lane) tell() { ln.now = ln.host.clock.Now() }

// unlock ends a hold: connections touched send what they may, output goes to
// the adapters' queues, the timer is armed; then the lock is dropped, adapters
// are flushed and sleepers woken. With a w the caller does that by running it;
// without one it is done here.
func (ln *lane) unlock(w *link.Work) {
	for s := ln.touched; s != nil; s = ln.touched {
		ln.touched = s.nextTouched
		s.nextTouched, s.isTouched = nil, false
		s.finish(ln)
	}
	if ln.rearm {
		ln.arm()
	}
	publish := ln.autoChanged && !ln.closed
	ln.autoChanged = false
	if len(ln.dirty) == 0 && len(ln.wakes) == 0 {
		ln.mu.Unlock()
		if publish {
			ln.host.publishAuto()
		}
		return
	}
	own := w == nil
	if own {
		w = link.NewWork(&ln.host.group)
	}
	for _, i := range ln.dirty {
		a := ln.conf.adapters[i]
		a.Enqueue(&ln.out[i])
		w.Flush(a)
	}
	ln.dirty = ln.dirty[:0]
	for i, ch := range ln.wakes {
		w.Wake(ch)
		ln.wakes[i] = nil
	}
	ln.wakes = ln.wakes[:0]
	ln.mu.Unlock()
	if publish {
		ln.host.publishAuto()
	}
	if own {
		w.Run()
	}
}

// wake notes a sleeper to be woken after unlocking; nil is ignored.
func (ln *lane) wake(ch chan struct{}) {
	if ch != nil {
		ln.wakes = append(ln.wakes, ch)
	}
}

// enqueue puts a packet on this hold's output.
func (ln *lane) enqueue(a *link.Adapter, p *packet.Packet) {
	i := a.Index()
	if int(i) >= len(ln.out) {
		ln.out = append(ln.out, make([]packet.List, int(i)+1-len(ln.out))...)
	}
	if ln.out[i].Empty() {
		ln.dirty = append(ln.dirty, i)
	}
	ln.out[i].Push(p)
}

// drop ends a packet and counts it.
func (ln *lane) drop(p *packet.Packet, r packet.Reason) {
	ln.drops[r]++
	if t := ln.conf.dropTap; t != nil {
		ln.tapDrop(t, p, r)
	}
	ln.pool.Drop(p, r)
}

func (ln *lane) tapDrop(t link.DropTap, p *packet.Packet, r packet.Reason) {
	var a *link.Adapter
	dir, rule := link.Out, ""
	if i := int(p.Ingress); i > 0 && i < len(ln.conf.adapters) {
		a, dir = ln.conf.adapters[i], link.In
	}
	if by := ln.judging.Rule; by != nil && r == packet.ReasonRule {
		rule = by.String()
	}
	t.TapDrop(a, dir, p, r, rule)
}

// schedule puts an entry on the wheel, unless the instant is Never.
func (ln *lane) schedule(e *clock.Entry, at time.Duration) {
	if at == clock.Never {
		return
	}
	ln.wheel.Schedule(e, at)
	if at < ln.timerAt {
		ln.timerAt = at
		ln.rearm = true
	}
}

// scheduleLazily is schedule for deadlines that mostly move later: an entry
// that is on the wheel for an earlier instant stays there, and asks again.
func (ln *lane) scheduleLazily(e *clock.Entry, at time.Duration) {
	if !e.Pending() || at < e.At() {
		ln.schedule(e, at)
	}
}

// arm sets the clock's timer for timerAt.
func (ln *lane) arm() {
	ln.rearm = false
	if ln.timerAt == clock.Never || ln.closed {
		return
	}
	d := max(ln.timerAt-ln.now, 0)
	if ln.timer == nil {
		ln.timer = ln.host.clock.AfterFunc(d, ln.tick)
		return
	}
	ln.timer.Reset(d)
}

// tick is the clock's call: it fires what is due and arms the timer for what
// is next.
func (ln *lane) tick() {
	ln.lock()
	if ln.closed {
		ln.unlock(nil)
		return
	}
	ln.timerAt = clock.Never
	ln.wheel.Advance(ln.now)
	ln.timerAt = ln.wheel.Next()
	ln.rearm = true
	ln.unlock(nil)
}

// close ends every socket and stops the lane's timer.
func (ln *lane) close() {
	ln.lock()
	for s := range ln.sockets {
		s.closeLocked(ln)
	}
	for _, s := range ln.tcp.all() {
		s.abort(ln)
	}
	for _, w := range ln.pings {
		for ; w != nil; w = w.next {
			w.fail(ln, errNetClosed)
		}
	}
	ln.unlock(nil) // resets leave by adapters that are still open
	ln.lock()
	ln.closed = true
	if ln.timer != nil {
		ln.timer.Stop()
	}
	ln.timeWait.clear(ln)
	ln.host.frags.Flush(0, (*fragSender)(ln))
	ln.unlock(nil)
}

// trim gives the lane's free packets back.
func (ln *lane) trim() {
	ln.mu.Lock()
	ln.pool.Trim()
	ln.mu.Unlock()
}

// neighSender lets the neighbour cache speak through the lane, which is locked
// when it does.
type neighSender lane

func (s *neighSender) Solicit(k neigh.Key, mac wire.MAC, src netip.Addr) {
	(*lane)(s).solicit(k, mac, src)
}

func (s *neighSender) Unresolved(k neigh.Key, p *packet.Packet, r packet.Reason) {
	(*lane)(s).unresolved(k, p, r)
}
