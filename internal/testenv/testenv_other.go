//go:build !linux

package testenv

import "testing"

// NeedsUserNS skips the test.
func NeedsUserNS(t testing.TB) { t.Helper(); t.Skip("needs the namespaces of Linux") }

// NeedsTUN skips the test.
func NeedsTUN(t testing.TB) { t.Helper(); t.Skip("needs the TUN devices of Linux") }

// InNamespace skips the test.
func InNamespace(t *testing.T, _ func(t *testing.T)) { t.Helper(); NeedsUserNS(t) }
