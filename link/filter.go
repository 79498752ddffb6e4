package link

import (
	"sync/atomic"

	"github.com/towpath/towpath/packet"
)

// A FilterModule is a filter's place in one adapter's stack (NDIS: filter
// module). It stays usable after the filter has been detached: what it still
// passes on reaches the neighbours it had.
type FilterModule struct {
	adapter      *Adapter
	filter       Filter
	above, below atomic.Pointer[FilterModule]
	detached     bool // guarded by the adapter's conf
}

// Adapter is the adapter the module is attached to.
func (m *FilterModule) Adapter() *Adapter { return m.adapter }

// Indicate passes a batch on upwards.
func (m *FilterModule) Indicate(l *packet.List, w *Work) {
	if up := m.above.Load(); up != nil {
		up.filter.Receive(l, w)
		return
	}
	if !m.adapter.downIn(l) {
		m.adapter.deliver(l, w)
	}
}

// Send passes a batch on downwards. A filter may call it within its own Send
// or at any other time.
func (m *FilterModule) Send(l *packet.List, w *Work) {
	if down := m.below.Load(); down != nil {
		down.filter.Send(l, w)
		return
	}
	a := m.adapter
	a.txMu.Lock()
	defer a.txMu.Unlock()
	a.transmit(l, w)
}

// Drop ends packets that the filter does not let pass in one direction, counted
// on the adapter.
func (m *FilterModule) Drop(dir Direction, l *packet.List, r packet.Reason) {
	m.adapter.dropAll(l, dir, r)
}

// Attach puts a filter on top of the adapter's stack, next to the protocols,
// and returns its module.
func (a *Adapter) Attach(f Filter) (*FilterModule, error) {
	m := &FilterModule{adapter: a, filter: f}
	if err := f.Attach(m); err != nil {
		return nil, err
	}
	a.conf.Lock()
	defer a.conf.Unlock()
	a.flushMu.Lock() // no flush is between its look at the stack and the driver
	defer a.flushMu.Unlock()
	a.filtered = true
	if below := a.top.Load(); below != nil {
		m.below.Store(below)
		below.above.Store(m)
	} else {
		a.bottom.Store(m)
	}
	a.top.Store(m)
	return m, nil
}

// Detach takes a filter out of the adapter's stack. It must not be called by
// the filter's own Send or Receive.
func (a *Adapter) Detach(m *FilterModule) {
	a.conf.Lock()
	if m.detached {
		a.conf.Unlock()
		return
	}
	m.detached = true
	above, below := m.above.Load(), m.below.Load()
	if above != nil {
		above.below.Store(below)
	} else {
		a.top.Store(below)
	}
	if below != nil {
		below.above.Store(above)
	} else {
		a.bottom.Store(above)
	}
	a.conf.Unlock()
	m.filter.Detach()
}
