package procnet

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/towpath/towpath/host"
)

// SettingsDir is the directory of the settings.
const SettingsDir = "/proc/sys/net/"

// dirs are the names of /proc/net.
var dirs = []string{"/proc/net/", "/proc/self/net/", "/proc/thread-self/net/"}

// A writer makes a file.
type writer struct {
	strings.Builder
	host *host.Host
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// files are those of /proc/net.
var files = map[string]func(*writer){
	"arp":        (*writer).arp,
	"dev":        (*writer).dev,
	"icmp":       func(w *writer) { w.datagrams(host.AFInet, host.SockDgram, icmp) },
	"icmp6":      func(w *writer) { w.datagrams(host.AFInet6, host.SockDgram, icmp6) },
	"if_inet6":   (*writer).addresses6,
	"ipv6_route": (*writer).routes6,
	"netstat":    (*writer).netstat,
	"packet":     (*writer).packets,
	"raw":        func(w *writer) { w.datagrams(host.AFInet, host.SockRaw, 0) },
	"raw6":       func(w *writer) { w.datagrams(host.AFInet6, host.SockRaw, 0) },
	"route":      (*writer).routes4,
	"snmp":       (*writer).snmp,
	"snmp6":      (*writer).snmp6,
	"sockstat":   (*writer).sockstat,
	"sockstat6":  (*writer).sockstat6,
	"tcp":        func(w *writer) { w.tcp(host.AFInet) },
	"tcp6":       func(w *writer) { w.tcp(host.AFInet6) },
	"udp":        func(w *writer) { w.datagrams(host.AFInet, host.SockDgram, udp) },
	"udp6":       func(w *writer) { w.datagrams(host.AFInet6, host.SockDgram, udp) },
	"udplite":    func(w *writer) { w.datagrams(host.AFInet, host.SockDgram, udplite) },
	"udplite6":   func(w *writer) { w.datagrams(host.AFInet6, host.SockDgram, udplite) },
}

// Has reports whether a path is one that Read may know: a file of /proc/net that
// is a host's, or anything under /proc/sys/net.
func Has(path string) bool {
	if strings.HasPrefix(path, SettingsDir) {
		return true
	}
	_, ok := find(path)
	return ok
}

func find(path string) (func(*writer), bool) {
	for _, dir := range dirs {
		if name, ok := strings.CutPrefix(path, dir); ok {
			f, ok := files[name]
			return f, ok
		}
	}
	return nil, false
}

// Read is the content of a file now. It fails with ENOENT if there is none.
func Read(h *host.Host, path string) (string, syscall.Errno) {
	if name, ok := setting(path); ok {
		v, e := h.Sysctl(name)
		return v + "\n", e
	}
	f, ok := find(path)
	if !ok {
		return "", syscall.ENOENT
	}
	w := &writer{host: h}
	f(w)
	return w.String(), 0
}

// Write writes a setting. It fails with ENOENT if there is no such file, with
// EACCES if it is none of the settings, and with EINVAL if the value is none for
// it.
func Write(h *host.Host, path, value string) syscall.Errno {
	name, ok := setting(path)
	switch {
	case ok:
		return h.SetSysctl(name, value)
	case Has(path):
		return syscall.EACCES
	}
	return syscall.ENOENT
}

// setting is the name of the setting in a file.
func setting(path string) (string, bool) {
	name, ok := strings.CutPrefix(path, SettingsDir)
	return "net/" + strings.Trim(name, "/"), ok && name != ""
}
