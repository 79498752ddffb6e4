package frag

// A datagram stands in two orders, oldest first.
const (
	byAge    = iota // of its family
	bySource        // of its source
	orders
)

// An order is a list of datagrams linked through the datagrams.
type order struct {
	which          int
	oldest, newest *datagram
}

type links struct{ older, newer *datagram }

// push puts d at the newest end.
func (o *order) push(d *datagram) {
	d.in[o.which] = links{older: o.newest}
	if o.newest != nil {
		o.newest.in[o.which].newer = d
	} else {
		o.oldest = d
	}
	o.newest = d
}

// remove takes d out.
func (o *order) remove(d *datagram) {
	l := d.in[o.which]
	if l.older != nil {
		l.older.in[o.which].newer = l.newer
	} else {
		o.oldest = l.newer
	}
	if l.newer != nil {
		l.newer.in[o.which].older = l.older
	} else {
		o.newest = l.older
	}
	d.in[o.which] = links{}
}
