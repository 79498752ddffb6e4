//go:build linux && (amd64 || arm64)

package unotify

import (
	"io"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Notification is a system call that waits for an answer (struct
// seccomp_notif).
type Notification struct {
	ID    uint64
	PID   uint32 // of the thread
	flags uint32
	Nr    int32
	arch  uint32
	ip    uint64
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	errno int32 // negative
	flags uint32
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	id       uint64
	flags    uint32
	src      uint32
	dst      uint32
	dstFlags uint32
}

// A Listener is where the notifications of a tree of processes arrive. Recv is
// for one goroutine, the answers for any. Answers return ENOENT if nobody waits
// any more: the thread was killed, or a signal interrupted the call.
type Listener struct {
	fd   int
	stop int // eventfd that ends Recv
	once sync.Once

	mu     sync.Mutex
	pidfds map[int]int // by thread, to take descriptors with
}

func newListener(fd int) (*Listener, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	// Faster where the kernel has it (6.6).
	unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return &Listener{fd: fd, stop: stop, pidfds: make(map[int]int)}, nil
}

// pidfdsMax bounds the threads whose pidfds are kept.
const pidfdsMax = 256

// GetFD returns a duplicate of a descriptor of another process, of which tid is
// a thread.
func (l *Listener) GetFD(tid, fd int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A pidfd is the thread's for ever: if the number is another's by now, it
	// says so.
	if pidfd, ok := l.pidfds[tid]; ok {
		got, err := unix.PidfdGetfd(pidfd, fd, 0)
		if err != unix.ESRCH {
			return got, err
		}
		unix.Close(pidfd)
		delete(l.pidfds, tid)
	}
	pidfd, err := unix.PidfdOpen(tid, pidfdThread)
	if err == unix.EINVAL { // before Linux 6.9 there are none of threads
		return GetFD(tid, fd)
	}
	if err != nil {
		return -1, err
	}
	if len(l.pidfds) >= pidfdsMax {
		l.forgetLocked()
	}
	l.pidfds[tid] = pidfd
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// forgetLocked closes all pidfds.
func (l *Listener) forgetLocked() {
	for _, pidfd := range l.pidfds {
		unix.Close(pidfd)
	}
	clear(l.pidfds)
}

// Recv waits for the next notification. It returns io.EOF when the last process
// of the tree has ended, or after Stop.
func (l *Listener) Recv(n *Notification) error {
	for {
		// Without poll the end of the tree would not be seen, and RECV would
		// fail with ENOENT for ever.
		fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.stop), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		if fds[1].Revents != 0 || fds[0].Revents&(unix.POLLIN|unix.POLLHUP) == unix.POLLHUP {
			return io.EOF
		}
		*n = Notification{}
		switch err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n)); err {
		case 0:
			return nil
		case unix.ENOENT: // killed meanwhile
		default:
			return err
		}
	}
}

// Stop makes Recv return.
func (l *Listener) Stop() { unix.Write(l.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// Close makes every trapped call of the tree fail with ENOSYS. Nothing else may
// be called at the same time or later.
func (l *Listener) Close() {
	l.once.Do(func() {
		unix.Close(l.fd)
		unix.Close(l.stop)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.forgetLocked()
	})
}

// Return answers with a value, or an error if errno is not 0.
func (l *Listener) Return(id uint64, val int64, errno unix.Errno) error {
	return l.send(&response{id: id, val: val, errno: -int32(errno)})
}

// Continue makes the kernel do the call as if nobody listened.
func (l *Listener) Continue(id uint64) error {
	return l.send(&response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l *Listener) send(r *response) error {
	if e := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(r)); e != 0 {
		return e
	}
	return nil
}

// ReturnFD answers with a new descriptor, the lowest free one, for fd.
func (l *Listener) ReturnFD(id uint64, fd int, cloexec bool) error {
	return l.add(&addFD{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, src: uint32(fd), dstFlags: closeOnExec(cloexec)})
}

// SetFD makes the descriptor at stand for what fd does, and does not answer.
func (l *Listener) SetFD(id uint64, fd, at int, cloexec bool) error {
	return l.add(&addFD{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SETFD, src: uint32(fd), dst: uint32(at), dstFlags: closeOnExec(cloexec)})
}

func closeOnExec(yes bool) uint32 {
	if yes {
		return unix.O_CLOEXEC
	}
	return 0
}

// add gives a descriptor to the program. A signal that met the ioctl would end
// the program's call with a result that nobody gave.
func (l *Listener) add(a *addFD) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old := blockSignals()
	e := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(a))
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if e != 0 {
		return e
	}
	return nil
}

// blockSignals blocks all signals of this thread and returns the mask that was.
func blockSignals() (old unix.Sigset_t) {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	return old
}

// Valid reports whether somebody still waits for the answer. It is asked after
// the memory or the descriptors of the process have been looked at, whose
// number may by then be another's.
func (l *Listener) Valid(id uint64) bool {
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id)) == 0
}

func (l *Listener) ioctl(req uintptr, p unsafe.Pointer) unix.Errno {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), req, uintptr(p))
		if e == unix.EINTR {
			continue
		}
		if int(r) >= 0 {
			return 0
		}
		return e
	}
}
