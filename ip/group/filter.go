package group

import (
	"net/netip"
	"slices"
)

// A Filter says of which sources packets to a group are wanted (RFC 3376 §2): of
// those listed, or of all but those. The zero value, INCLUDE{}, wants nothing: it
// is that of who is no member.
type Filter struct {
	Exclude bool         // the filter mode: EXCLUDE, or else INCLUDE
	Sources []netip.Addr // sorted, each once; not changed once it is here
}

// Everything is the filter of a member that takes all sources: EXCLUDE{}.
var Everything = Filter{Exclude: true}

// NewFilter returns a filter with sources in any order. It keeps no reference to
// them.
func NewFilter(exclude bool, sources ...netip.Addr) Filter {
	list := slices.Clone(sources)
	slices.SortFunc(list, netip.Addr.Compare)
	return Filter{exclude, slices.Compact(list)}
}

// Lists reports whether a source is one of those listed.
func (f Filter) Lists(src netip.Addr) bool {
	_, ok := slices.BinarySearchFunc(f.Sources, src, netip.Addr.Compare)
	return ok
}

// Allows reports whether packets of a source are wanted.
func (f Filter) Allows(src netip.Addr) bool { return f.Lists(src) != f.Exclude }

// With is the filter with one more source listed.
func (f Filter) With(src netip.Addr) Filter {
	return NewFilter(f.Exclude, append(slices.Clone(f.Sources), src)...)
}

// Without is the filter with a source listed no more.
func (f Filter) Without(src netip.Addr) Filter {
	return Filter{f.Exclude, slices.DeleteFunc(slices.Clone(f.Sources), func(a netip.Addr) bool { return a == src })}
}

// none reports whether nothing is wanted.
func (f Filter) none() bool { return !f.Exclude && len(f.Sources) == 0 }

// differ calls each with the sources that only one of two filters lists.
func differ(a, b Filter, each func(netip.Addr)) {
	for _, x := range a.Sources {
		if !b.Lists(x) {
			each(x)
		}
	}
	for _, x := range b.Sources {
		if !a.Lists(x) {
			each(x)
		}
	}
}

// wishes are the filters of all parties that listen to one group on one adapter,
// counted, so that one party's change costs what that party lists.
type wishes struct {
	parties int
	exclude int // parties in EXCLUDE mode
	sources map[netip.Addr]wish
}

// A wish is how many parties list a source in each mode.
type wish struct{ include, exclude int }

// add counts a party's filter n times, 1 or -1.
func (w *wishes) add(f Filter, n int) {
	if f.none() {
		return
	}
	w.parties += n
	if f.Exclude {
		w.exclude += n
	}
	for _, a := range f.Sources {
		x := w.sources[a]
		if f.Exclude {
			x.exclude += n
		} else {
			x.include += n
		}
		if x == (wish{}) {
			delete(w.sources, a)
			continue
		}
		if w.sources == nil {
			w.sources = make(map[netip.Addr]wish)
		}
		w.sources[a] = x
	}
}

// merge is what all parties want together (RFC 3376 §3.2, RFC 3810 §4.2): if one
// excludes, the adapter excludes what all of those exclude and nobody includes;
// else it includes what anybody includes.
func (w *wishes) merge() Filter {
	f := Filter{Exclude: w.exclude > 0}
	for a, x := range w.sources {
		if f.Exclude && (x.exclude != w.exclude || x.include > 0) || !f.Exclude && x.include == 0 {
			continue
		}
		f.Sources = append(f.Sources, a)
	}
	slices.SortFunc(f.Sources, netip.Addr.Compare)
	return f
}
