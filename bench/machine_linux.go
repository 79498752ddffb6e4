package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// waited is how long this process's threads have stood ready to run without a
// processor.
func waited() time.Duration {
	tasks, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, name := range tasks {
		var ran, waited time.Duration
		if b, err := os.ReadFile(name); err == nil {
			fmt.Sscan(string(b), &ran, &waited)
			sum += waited
		}
	}
	return sum
}

// processors is how long the machine's processors have been busy, with what a
// hypervisor has taken, and how long there have been any, summed over all.
func processors() (u usage) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return usage{}
	}
	const tick = 10 * time.Millisecond
	for i, f := range fields[1:9] { // user nice system idle iowait irq softirq steal
		n, _ := strconv.Atoi(f)
		u.all += time.Duration(n) * tick
		if i != 3 && i != 4 {
			u.busy += time.Duration(n) * tick
		}
	}
	return u
}
