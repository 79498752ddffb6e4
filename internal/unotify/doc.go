// Package unotify lets this process answer system calls of programs that it
// starts, with the seccomp user notifications of Linux (seccomp_unotify(2)).
//
//	func main() {
//		unotify.Init() // does not return in the processes that Start makes
//		p, err := unotify.Start(unotify.Cmd{Path: "/bin/ls", Args: []string{"ls"}})
//		var n unotify.Notification
//		for p.Listener.Recv(&n) == nil {
//			p.Listener.Continue(n.ID)
//		}
//		status, err := p.Wait()
//	}
//
// # Theory of operation
//
// Start runs this program twice more, one inside the other:
//
//	this process --control socket-- guard -- shim, which becomes the program
//	     |                                    |  +- its children …
//	     +-------- notifications -------------+--+
//
// The guard is the reaper of all that the program starts (PR_SET_CHILD_SUBREAPER).
// When the program ends, or the control socket does because this process has
// ended in whatever way, it kills the rest of the tree and reports. The shim
// blocks all signals, takes no_new_privs, installs the filter on its only thread
// that will survive execve, writes the descriptor's number to a pipe, waits until
// this process has taken the descriptor (pidfd_getfd), restores the signals and
// executes the program. Nothing that the filter traps is called in between.
//
// The filter and what it traps are in filter.go. Children inherit it; it cannot
// be taken off.
//
// A reply that carries a descriptor is sent with all signals blocked: a signal
// that meets the ioctl would make the program's call return 0.
//
// Limits: it is no sandbox, for arguments in memory can change after they were
// looked at. Linux 5.14 or later, on amd64 and arm64; programs of other
// architectures (32 bit) get ENOSYS. A tree can have one listener: programs that
// bring their own fail with EBUSY.
package unotify
