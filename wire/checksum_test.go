package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slowSum is RFC 1071 word for word.
func slowSum(b []byte, initial uint32) uint32 {
	s := uint64(initial)
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s>>32 != 0 {
		s = s>>32 + s&0xffffffff
	}
	return uint32(s)
}

// carrySum is the design that lost against sumLE: two chains of additions with
// carry.
func carrySum(b []byte) uint16 {
	var s, c, t, d uint64
	for len(b) >= 64 {
		x := (*[64]byte)(b)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(x[0:]), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(x[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(x[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(x[24:]), c)
		s += c
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(x[32:]), 0)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(x[40:]), d)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(x[48:]), d)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(x[56:]), d)
		t += d
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	var tail uint64
	for i, v := range b {
		tail |= uint64(v) << (8 * i)
	}
	s, c = bits.Add64(s, t, 0)
	s, c = bits.Add64(s, tail, c)
	return bits.ReverseBytes16(fold64(s + c))
}

func TestChecksumRFC1071(t *testing.T) {
	// The example of RFC 1071 §3.
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Sum(b, 0); Fold(got) != 0xddf2 {
		t.Errorf("Fold(Sum) = %#x, want 0xddf2", Fold(got))
	}
	if got := Checksum(b); got != 0x220d {
		t.Errorf("Checksum = %#x, want 0x220d", got)
	}
}

func TestSumAgainstSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 700)
	fills := map[string]func(){
		"random": func() {
			for i := range buf {
				buf[i] = byte(r.Uint32())
			}
		},
		"ones":  func() { fill(buf, 0xff) },
		"zeros": func() { fill(buf, 0) },
	}
	for name, f := range fills {
		f()
		for align := range 9 {
			for n := 0; n <= 600; n++ {
				checkSum(t, name, buf[align:align+n], 0)
			}
		}
		for _, initial := range []uint32{1, 0xffff, 0x10000, 0xffff0000, 0xffffffff} {
			checkSum(t, name, buf[:511], initial)
		}
	}
	big := make([]byte, 1<<20+3)
	fill(big, 0xff)
	checkSum(t, "a mebibyte of ones", big, 0xffffffff)
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// checkSum compares every way to sum b.
func checkSum(t *testing.T, name string, b []byte, initial uint32) {
	t.Helper()
	want := Fold(slowSum(b, initial))
	if got := Fold(Sum(b, initial)); got != want {
		t.Fatalf("%s: Sum of %d bytes from %#x = %#x, want %#x", name, len(b), initial, got, want)
	}
	if got := Fold(accumulate(initial, carrySum(b))); got != want {
		t.Fatalf("%s: carrySum of %d bytes from %#x = %#x, want %#x", name, len(b), initial, got, want)
	}
	dst := make([]byte, len(b))
	if got := Fold(accumulate(initial, Fold(CopySum(dst, b)))); got != want {
		t.Fatalf("%s: CopySum of %d bytes = %#x, want %#x", name, len(b), got, want)
	}
	if string(dst) != string(b) {
		t.Fatalf("%s: CopySum of %d bytes copied something else", name, len(b))
	}
}

func TestCopySumShorterSlice(t *testing.T) {
	src := []byte{1, 2, 3, 4}
	dst := make([]byte, 3)
	if got, want := Fold(CopySum(dst, src)), Fold(slowSum(src[:3], 0)); got != want || string(dst) != "\x01\x02\x03" {
		t.Errorf("CopySum into 3 bytes = %#x, % x; want %#x", got, dst, want)
	}
	long := make([]byte, 200)
	if got, want := Fold(CopySum(long, src)), Fold(slowSum(src, 0)); got != want {
		t.Errorf("CopySum into 200 bytes = %#x, want %#x", got, want)
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("hello, world"), uint32(0), uint16(5))
	f.Add(make([]byte, 300), uint32(0xffffffff), uint16(129))
	f.Add([]byte{0xff}, uint32(0xffff), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, initial uint32, split uint16) {
		checkSum(t, "fuzz", b, initial)
		// Any split, odd ones too, gives the sum of the whole.
		n := int(split) % (len(b) + 1)
		s := SumAt(b[n:], Sum(b[:n], initial), n%2 != 0)
		if got, want := Fold(s), Fold(slowSum(b, initial)); got != want {
			t.Fatalf("split at %d of %d: %#x, want %#x", n, len(b), got, want)
		}
	})
}

func FuzzChecksumUpdate(f *testing.F) {
	f.Add([]byte("twelve bytes"), uint16(2), uint32(0xdeadbeef))
	f.Add(make([]byte, 8), uint16(0), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, value uint32) {
		b = b[:len(b)&^1]
		if len(b) < 6 {
			return
		}
		b[0] |= 1 // A sum over all zeros is the one that no update can reach.
		i := 2 + int(at)%(len(b)-5)&^1
		sum := Checksum(b)
		old16, old32 := binary.BigEndian.Uint16(b[i:]), binary.BigEndian.Uint32(b[i:])
		binary.BigEndian.PutUint32(b[i:], value)
		if got, want := ChecksumUpdate32(sum, old32, value), Checksum(b); got != want {
			t.Fatalf("ChecksumUpdate32 = %#x, want %#x", got, want)
		}
		binary.BigEndian.PutUint32(b[i:], old32)
		binary.BigEndian.PutUint16(b[i:], uint16(value))
		if got, want := ChecksumUpdate16(sum, old16, uint16(value)), Checksum(b); got != want {
			t.Fatalf("ChecksumUpdate16 = %#x, want %#x", got, want)
		}
	})
}

func TestChecksumUpdateRFC1624(t *testing.T) {
	// The example of RFC 1624 §4: a word goes from 0x5555 to 0x3285 under the
	// checksum 0xdd2f and leaves 0x0000, not 0xffff.
	if got := ChecksumUpdate16(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("ChecksumUpdate16 = %#x, want 0", got)
	}
}

func TestChecksumUpdateAddr(t *testing.T) {
	for _, pair := range [][2]string{{"10.0.0.1", "192.0.2.77"}, {"fe80::1", "2001:db8::ffff:1"}} {
		old, new, peer := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1]), netip.MustParseAddr(pair[1])
		sum := ^Fold(PseudoSum(old, peer, ProtoTCP, 1234))
		if got, want := ChecksumUpdateAddr(sum, old, new), ^Fold(PseudoSum(new, peer, ProtoTCP, 1234)); got != want {
			t.Errorf("%v to %v: %#x, want %#x", old, new, got, want)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	src4, dst4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	b := append(src4.AsSlice(), dst4.AsSlice()...)
	b = append(b, 0, 17, 0x12, 0x34)
	if got, want := Fold(PseudoSum(src4, dst4, ProtoUDP, 0x1234)), Fold(slowSum(b, 0)); got != want {
		t.Errorf("IPv4: %#x, want %#x", got, want)
	}
	src6, dst6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::ffff:ffff:ffff:ffff")
	b = append(src6.AsSlice(), dst6.AsSlice()...)
	b = append(b, 0, 1, 0x12, 0x34, 0, 0, 0, 58)
	if got, want := Fold(PseudoSum(src6, dst6, ProtoICMPv6, 0x11234)), Fold(slowSum(b, 0)); got != want {
		t.Errorf("IPv6: %#x, want %#x", got, want)
	}
}

var sinkUint32 uint32

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 40, 64, 256, 1460, 4096, 65536} {
		buf := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				sinkUint32 = Sum(buf, sinkUint32)
			}
		})
	}
	buf := make([]byte, 65536)
	b.Run("carry/65536", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			sinkUint32 += uint32(carrySum(buf))
		}
	})
}

func BenchmarkCopySum(b *testing.B) {
	for _, n := range []int{64, 1460, 16384, 65536} {
		src, dst := make([]byte, n), make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				sinkUint32 = CopySum(dst, src)
			}
		})
	}
}

func BenchmarkPseudoSum(b *testing.B) {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	b.ReportAllocs()
	for b.Loop() {
		sinkUint32 = PseudoSum(src, dst, ProtoTCP, 1460)
	}
}
