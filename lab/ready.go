package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// listens reports whether a socket listens on a TCP port, in the network
// namespace of the process pid.
func listens(pid, port int) (bool, error) {
	for _, file := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if os.IsNotExist(err) && file == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return false, err
		}
		if tableListens(string(b), port) {
			return true, nil
		}
	}
	return false, nil
}

// tableListens looks for a listening socket in the text of /proc/net/tcp:
//
//	sl  local_address rem_address   st …
//	 0: 00000000:0050 00000000:0000 0A …
func tableListens(table string, port int) bool {
	const listen = "0A"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != listen {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
			return true
		}
	}
	return false
}
