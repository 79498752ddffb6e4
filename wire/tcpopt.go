package wire

import (
	"encoding/binary"
	"strconv"
)

// TCPOptionKind is the first byte of a TCP option.
type TCPOptionKind uint8

// Options of TCP by their IANA numbers.
const (
	TCPOptEnd           TCPOptionKind = 0
	TCPOptNop           TCPOptionKind = 1
	TCPOptMSS           TCPOptionKind = 2  // RFC 9293 §3.7.1
	TCPOptWScale        TCPOptionKind = 3  // RFC 7323 §2
	TCPOptSACKPermitted TCPOptionKind = 4  // RFC 2018 §2
	TCPOptSACK          TCPOptionKind = 5  // RFC 2018 §3
	TCPOptTimestamps    TCPOptionKind = 8  // RFC 7323 §3
	TCPOptMD5           TCPOptionKind = 19 // RFC 2385
	TCPOptUserTimeout   TCPOptionKind = 28 // RFC 5482
	TCPOptAO            TCPOptionKind = 29 // RFC 5925
	TCPOptMPTCP         TCPOptionKind = 30 // RFC 8684
	TCPOptFastOpen      TCPOptionKind = 34 // RFC 7413
)

// String returns the option's name in tcpdump's words.
func (k TCPOptionKind) String() string {
	switch k {
	case TCPOptEnd:
		return "eol"
	case TCPOptNop:
		return "nop"
	case TCPOptMSS:
		return "mss"
	case TCPOptWScale:
		return "wscale"
	case TCPOptSACKPermitted:
		return "sackOK"
	case TCPOptSACK:
		return "sack"
	case TCPOptTimestamps:
		return "TS"
	case TCPOptMD5:
		return "md5"
	case TCPOptUserTimeout:
		return "uto"
	case TCPOptAO:
		return "tcp-ao"
	case TCPOptMPTCP:
		return "mptcp"
	case TCPOptFastOpen:
		return "tfo"
	}
	return "unknown-" + strconv.Itoa(int(k))
}

// Sizes of TCP options in bytes, with kind and length, without padding.
const (
	tcpOptLenMax      = TCPLenMax - TCPLen
	tcpMSSLen         = 4
	tcpWScaleLen      = 3
	tcpSACKPermLen    = 2
	tcpSACKBlockLen   = 8
	tcpTimestampsLen  = 10
	tcpMD5Len         = 18
	tcpUserTimeoutLen = 4

	// tcpTSWord is NOP NOP kind 8 length 10, the start of almost every
	// segment's options.
	tcpTSWord = 0x0101080a
)

// SACKBlock is a run of received bytes: sequence numbers from Left up to, but
// not including, Right (RFC 2018 §3).
type SACKBlock struct{ Left, Right uint32 }

// TCPOptions are the options of one segment, read by Parse and written by Put.
type TCPOptions struct {
	MSS       uint16 // largest payload the sender takes, bytes
	HasMSS    bool
	WScale    uint8 // shift of the window, as sent; above 14 means 14 (RFC 7323 §2.3)
	HasWScale bool

	SACKPermitted bool

	HasTS        bool
	TSVal, TSEcr uint32

	SACK  [4]SACKBlock
	NSACK int // blocks used in SACK

	FastOpen    []byte // cookie; empty asks for one (RFC 7413 §4.1.1)
	HasFastOpen bool

	MD5 []byte // digest of 16 bytes, or nil
	AO  []byte // key ids and MAC, the option after its length; or nil

	UserTimeout    uint16 // granularity bit and 15 bits of seconds or minutes
	HasUserTimeout bool
}

// Parse reads the options b of a segment into o, overwriting what was there.
// It reports false if an option's length is below 2 or runs out of b; what
// came before it has been read. An option of a size that its kind does not
// have is skipped, as if it were unknown. FastOpen, MD5 and AO refer to b.
//
// Whether an option may stand in this segment (MSS, window scale and
// SACK-permitted belong to SYNs only) is for the caller to judge.
func (o *TCPOptions) Parse(b []byte) bool {
	*o = TCPOptions{}
	if len(b) == 12 && binary.BigEndian.Uint32(b) == tcpTSWord {
		o.HasTS = true
		o.TSVal = binary.BigEndian.Uint32(b[4:])
		o.TSEcr = binary.BigEndian.Uint32(b[8:])
		return true
	}
	for len(b) > 0 {
		switch TCPOptionKind(b[0]) {
		case TCPOptEnd:
			return true
		case TCPOptNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return false
		}
		o.take(b[:b[1]])
		b = b[b[1]:]
	}
	return true
}

// take reads one option, kind and length included.
func (o *TCPOptions) take(b []byte) {
	switch kind, n := TCPOptionKind(b[0]), len(b); {
	case kind == TCPOptMSS && n == tcpMSSLen:
		o.MSS, o.HasMSS = binary.BigEndian.Uint16(b[2:]), true
	case kind == TCPOptWScale && n == tcpWScaleLen:
		o.WScale, o.HasWScale = b[2], true
	case kind == TCPOptSACKPermitted && n == tcpSACKPermLen:
		o.SACKPermitted = true
	case kind == TCPOptSACK && n > 2 && (n-2)%tcpSACKBlockLen == 0:
		o.takeSACK(b[2:])
	case kind == TCPOptTimestamps && n == tcpTimestampsLen:
		o.HasTS = true
		o.TSVal = binary.BigEndian.Uint32(b[2:])
		o.TSEcr = binary.BigEndian.Uint32(b[6:])
	case kind == TCPOptMD5 && n == tcpMD5Len:
		o.MD5 = b[2:]
	case kind == TCPOptAO && n >= 4:
		o.AO = b[2:]
	case kind == TCPOptUserTimeout && n == tcpUserTimeoutLen:
		o.UserTimeout, o.HasUserTimeout = binary.BigEndian.Uint16(b[2:]), true
	case kind == TCPOptFastOpen && (n == 2 || n >= 6 && n <= 18 && n%2 == 0):
		o.FastOpen, o.HasFastOpen = b[2:], true
	}
}

func (o *TCPOptions) takeSACK(b []byte) {
	o.NSACK = min(len(b)/tcpSACKBlockLen, len(o.SACK))
	for i := range o.NSACK {
		at := b[i*tcpSACKBlockLen:]
		o.SACK[i] = SACKBlock{binary.BigEndian.Uint32(at), binary.BigEndian.Uint32(at[4:])}
	}
}

// Len returns the number of bytes that Put writes, a multiple of 4. The caller
// keeps it within 40.
func (o *TCPOptions) Len() int {
	n := 0
	if o.MD5 != nil {
		n += 20
	}
	if o.AO != nil {
		n += (2 + len(o.AO) + 3) &^ 3
	}
	if o.HasMSS {
		n += 4
	}
	if o.HasTS {
		n += 12
	} else if o.SACKPermitted {
		n += 4
	}
	if o.HasWScale {
		n += 4
	}
	if o.NSACK > 0 {
		n += 4 + o.NSACK*tcpSACKBlockLen
	}
	if o.HasFastOpen {
		n += (2 + len(o.FastOpen) + 3) &^ 3
	}
	if o.HasUserTimeout {
		n += 4
	}
	return n
}

// Put writes the options to b in the order and with the padding of Linux, so
// that segments look alike on the wire, and returns their size in bytes:
//
//	SYN            mss, sackOK, TS, nop, wscale
//	SYN without TS mss, nop, nop, sackOK, nop, wscale
//	data           nop, nop, TS, nop, nop, sack
//
// A signature, MD5 or AO, comes first; a Fast Open cookie and a user timeout
// come last.
func (o *TCPOptions) Put(b []byte) int {
	at := 0
	if o.MD5 != nil {
		if len(o.MD5) != tcpMD5Len-2 {
			panic("wire: TCP MD5 signature is not 16 bytes")
		}
		at += copy(b[at:], []byte{byte(TCPOptNop), byte(TCPOptNop), byte(TCPOptMD5), tcpMD5Len})
		at += copy(b[at:at+16], o.MD5)
	}
	if o.AO != nil {
		at += putPadded(b[at:], TCPOptAO, o.AO)
	}
	if o.HasMSS {
		binary.BigEndian.PutUint32(b[at:], uint32(TCPOptMSS)<<24|tcpMSSLen<<16|uint32(o.MSS))
		at += 4
	}
	if o.HasTS {
		// SACK-permitted takes the place of the two NOPs before the timestamps.
		word := uint32(tcpTSWord)
		if o.SACKPermitted {
			word = uint32(TCPOptSACKPermitted)<<24 | tcpSACKPermLen<<16 | word&0xffff
		}
		binary.BigEndian.PutUint32(b[at:], word)
		binary.BigEndian.PutUint32(b[at+4:], o.TSVal)
		binary.BigEndian.PutUint32(b[at+8:], o.TSEcr)
		at += 12
	} else if o.SACKPermitted {
		binary.BigEndian.PutUint32(b[at:], 0x0101<<16|uint32(TCPOptSACKPermitted)<<8|tcpSACKPermLen)
		at += 4
	}
	if o.HasWScale {
		binary.BigEndian.PutUint32(b[at:], 0x01<<24|uint32(TCPOptWScale)<<16|tcpWScaleLen<<8|uint32(o.WScale))
		at += 4
	}
	if o.NSACK > 0 {
		n := uint32(2 + o.NSACK*tcpSACKBlockLen)
		binary.BigEndian.PutUint32(b[at:], 0x0101<<16|uint32(TCPOptSACK)<<8|n)
		at += 4
		for _, s := range o.SACK[:o.NSACK] {
			binary.BigEndian.PutUint32(b[at:], s.Left)
			binary.BigEndian.PutUint32(b[at+4:], s.Right)
			at += tcpSACKBlockLen
		}
	}
	if o.HasFastOpen {
		at += putPadded(b[at:], TCPOptFastOpen, o.FastOpen)
	}
	if o.HasUserTimeout {
		binary.BigEndian.PutUint32(b[at:], uint32(TCPOptUserTimeout)<<24|tcpUserTimeoutLen<<16|uint32(o.UserTimeout))
		at += 4
	}
	return at
}

// putPadded writes an option and NOPs up to a multiple of 4; it returns the
// number of bytes written.
func putPadded(b []byte, kind TCPOptionKind, body []byte) int {
	n := 2 + len(body)
	b[0], b[1] = uint8(kind), uint8(n)
	copy(b[2:n], body)
	for n%4 != 0 {
		b[n] = byte(TCPOptNop)
		n++
	}
	return n
}
