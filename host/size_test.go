package host

import (
	"testing"
	"unsafe"
)

// TestSizes guards what a connection costs: beyond 1280 bytes, the allocator
// gives 128 more, which every dial clears.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(tcpSocket{}); n > 1280 {
		t.Errorf("a TCP socket has %d bytes", n)
	}
}
