// Package testenv tells tests what the system they run on can do, and skips,
// with the reason printed, those that need more.
//
//	func TestDevice(t *testing.T) {
//		testenv.InNamespace(t, func(t *testing.T) {
//			testenv.NeedsTUN(t)
//			… root of a user and a network namespace of its own …
//		})
//	}
package testenv

import (
	"os/exec"
	"testing"
)

// NeedsTool skips the test if one of the programs is not installed.
func NeedsTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs the program %s: %v", name, err)
		}
	}
}
