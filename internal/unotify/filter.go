//go:build linux && (amd64 || arm64)

package unotify

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retNotify = unix.SECCOMP_RET_USER_NOTIF
	retNoSys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// x32 marks the calls of amd64's third ABI.
const x32 = 0x40000000

func load(off uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
}

// arg loads the low half of an argument.
func arg(i int) unix.SockFilter { return load(offArgs + 8*uint32(i)) }

func ret(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }

func jump(op uint16, k uint32, yes, no int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
}

// oneOf returns yes if the accumulator is one of the values, else no.
func oneOf(yes, no uint32, values ...uint32) (code []unix.SockFilter) {
	for i, v := range values {
		code = append(code, jump(unix.BPF_JEQ, v, len(values)-i, 0))
	}
	return append(code, ret(no), ret(yes))
}

// filter is the program: what is trapped of which call. All else is native.
func filter() []unix.SockFilter {
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	code := []unix.SockFilter{
		load(offArch), jump(unix.BPF_JEQ, arch, 1, 0), ret(retNoSys),
		load(offNr), jump(unix.BPF_JGE, x32, 0, 1), ret(retNoSys),
	}
	on := func(nr uint32, block ...unix.SockFilter) {
		code = append(code, jump(unix.BPF_JEQ, nr, 0, len(block)))
		code = append(code, block...)
	}
	// Without an address these are send and recv, and need nobody's help.
	address := []unix.SockFilter{
		arg(4), jump(unix.BPF_JEQ, 0, 0, 2),
		load(offArgs + 8*4 + 4), jump(unix.BPF_JEQ, 0, 1, 0),
		ret(retNotify), ret(retAllow),
	}
	on(unix.SYS_SENDTO, address...)
	on(unix.SYS_RECVFROM, address...)
	on(unix.SYS_IOCTL, arg(1), jump(unix.BPF_JGE, 0x8900, 0, 1), jump(unix.BPF_JGT, 0x89ff, 0, 1), ret(retAllow), ret(retNotify))
	on(unix.SYS_SOCKET, append([]unix.SockFilter{arg(0)},
		oneOf(retNotify, retAllow, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET)...)...)
	// Timeouts and the low water mark act on the pair.
	on(unix.SYS_SETSOCKOPT, append([]unix.SockFilter{arg(1), jump(unix.BPF_JEQ, unix.SOL_SOCKET, 1, 0), ret(retNotify), arg(2)},
		oneOf(retAllow, retNotify, unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW, unix.SO_RCVLOWAT)...)...)
	for _, nr := range []uint32{
		unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_CONNECT, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_GETSOCKNAME,
		unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SENDMMSG, unix.SYS_RECVMMSG,
		SysOpen, unix.SYS_OPENAT, unix.SYS_OPENAT2,
	} {
		on(nr, ret(retNotify))
	}
	// It would go past all of the above; libraries fall back.
	on(unix.SYS_IO_URING_SETUP, ret(retNoSys))
	return append(code, ret(retAllow))
}
