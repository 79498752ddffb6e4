package posix

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/socket"
)

// Numbers of epoll.
const (
	EPOLL_CTL_ADD = 1
	EPOLL_CTL_DEL = 2
	EPOLL_CTL_MOD = 3

	EPOLLET      = 1 << 31
	EPOLLONESHOT = 1 << 30
)

// epoll is an epoll instance.
type epoll struct {
	mu    sync.Mutex
	items []*epollItem // the order in which they are looked at
	c     chan struct{}
}

type epollItem struct {
	fd     int
	file   *file
	events uint32
	data   uint64
	watch  socket.Watch
	off    bool // EPOLLONESHOT has fired
}

// EpollCreate makes an epoll instance; its descriptor is want, or the lowest
// free one if want is negative.
func (p *Process) EpollCreate(want int) (int, syscall.Errno) {
	return p.add(want, &file{epoll: &epoll{c: make(chan struct{}, 1)}})
}

func (p *Process) epollOf(fd int) (*epoll, syscall.Errno) {
	f, e := p.get(fd)
	if e == 0 && f.epoll == nil {
		return nil, syscall.EINVAL
	}
	if e != 0 {
		return nil, e
	}
	return f.epoll, 0
}

// EpollCtl adds a descriptor to an instance, changes what is wanted of it, or
// takes it out.
func (p *Process) EpollCtl(epfd, op, fd int, events uint32, data uint64) syscall.Errno {
	ep, e := p.epollOf(epfd)
	if e != 0 {
		return e
	}
	f, e := p.get(fd)
	if e != 0 {
		return e
	}
	if f.sock == nil {
		if epfd == fd {
			return syscall.EINVAL
		}
		return syscall.EPERM
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	i := slices.IndexFunc(ep.items, func(it *epollItem) bool { return it.fd == fd && it.file == f })
	switch op {
	case EPOLL_CTL_ADD:
		if i >= 0 {
			return syscall.EEXIST
		}
		it := &epollItem{fd: fd, file: f, events: events, data: data}
		it.watch.C = ep.c
		f.sock.Watch(&it.watch)
		ep.items = append(ep.items, it)
		ep.arm(it)
	case EPOLL_CTL_MOD:
		if i < 0 {
			return syscall.ENOENT
		}
		it := ep.items[i]
		it.events, it.data, it.off = events, data, false
		ep.arm(it)
	case EPOLL_CTL_DEL:
		if i < 0 {
			return syscall.ENOENT
		}
		f.sock.Unwatch(&ep.items[i].watch)
		ep.items = slices.Delete(ep.items, i, i+1)
	default:
		return syscall.EINVAL
	}
	return 0
}

// arm makes what an item is ready for now count as news.
func (ep *epoll) arm(it *epollItem) {
	if it.file.sock.Arm(&it.watch) != 0 {
		select {
		case ep.c <- struct{}{}:
		default:
		}
	}
}

// forget takes a descriptor that was closed out.
func (ep *epoll) forget(fd int, f *file) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.items = slices.DeleteFunc(ep.items, func(it *epollItem) bool {
		if it.fd != fd || it.file != f {
			return false
		}
		f.sock.Unwatch(&it.watch)
		return true
	})
}

func (ep *epoll) close() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, it := range ep.items {
		it.file.sock.Unwatch(&it.watch)
	}
	ep.items = nil
}

// An EpollEvent is what a descriptor is ready for, with what was given for it.
type EpollEvent struct {
	Events uint32
	Data   uint64
}

// collect returns up to limit events, in turn.
func (ep *epoll) collect(limit int) (out []EpollEvent) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	var told []*epollItem
	for _, it := range ep.items {
		if len(out) == limit {
			break
		}
		if it.off {
			continue
		}
		if it.events&EPOLLET != 0 && it.file.sock.Pending(&it.watch)&(socket.Events(it.events)|socket.EventErr|socket.EventHup) == 0 {
			continue
		}
		ev := normal(it.file.sock.Ready()) & (socket.Events(it.events&0xffff) | socket.EventErr | socket.EventHup)
		if ev == 0 {
			continue
		}
		out = append(out, EpollEvent{uint32(ev), it.data})
		if it.events&EPOLLONESHOT != 0 {
			it.off = true
		}
		told = append(told, it)
	}
	// Those that were told of wait behind the others next time.
	if len(told) > 0 && len(told) < len(ep.items) {
		rest := slices.DeleteFunc(slices.Clone(ep.items), func(it *epollItem) bool { return slices.Contains(told, it) })
		ep.items = append(rest, told...)
	}
	return out
}

func (ep *epoll) ready() socket.Events {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, it := range ep.items {
		if !it.off && normal(it.file.sock.Ready())&(socket.Events(it.events&0xffff)|socket.EventErr|socket.EventHup) != 0 {
			return socket.EventIn
		}
	}
	return 0
}

// EpollWait waits for events, at most limit of them, for at most timeout;
// negative: for ever.
func (p *Process) EpollWait(epfd, limit int, timeout time.Duration) ([]EpollEvent, syscall.Errno) {
	ep, e := p.epollOf(epfd)
	if e != 0 {
		return nil, e
	}
	if limit <= 0 {
		return nil, syscall.EINVAL
	}
	w := p.newWait(timeout)
	defer w.end()
	for {
		if out := ep.collect(limit); len(out) > 0 || timeout == 0 {
			return out, 0
		}
		if w.clock.Now() >= w.deadline {
			return nil, 0
		}
		select {
		case <-ep.c:
		case <-w.watch.C:
		}
	}
}
