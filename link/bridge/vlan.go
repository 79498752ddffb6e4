package bridge

import (
	"fmt"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// noVLAN is no VLAN's number: 0 marks a tag that has a priority only (IEEE
// 802.1Q-2018 table 9-2).
const noVLAN uint16 = 0

// vlanMax is the last VLAN's number; 4095 is reserved.
const vlanMax = 4094

// PortConfig is a port's VLANs. Without [Config.Filtering] it means nothing.
type PortConfig struct {
	// PVID is the VLAN, from 1 to 4094, of frames without a tag, in both
	// directions; 0: there are none (Linux: bridge vlan add … pvid untagged).
	PVID uint16
	// Tagged are the VLANs whose frames have a tag.
	Tagged []uint16
}

// vlans are a port's.
type vlans struct {
	pvid    uint16
	members [(vlanMax + 2) / 64]uint64 // a bit a VLAN, the PVID included
}

func (v *vlans) set(c PortConfig) error {
	next := vlans{pvid: c.PVID}
	if c.PVID > vlanMax {
		return fmt.Errorf("there is no VLAN %d; they are numbered from 1 to %d", c.PVID, vlanMax)
	}
	for _, vid := range c.Tagged {
		switch {
		case vid == noVLAN || vid > vlanMax:
			return fmt.Errorf("there is no VLAN %d; they are numbered from 1 to %d", vid, vlanMax)
		case vid == c.PVID:
			return fmt.Errorf("VLAN %d cannot be with and without a tag", vid)
		}
		next.add(vid)
	}
	if c.PVID != noVLAN {
		next.add(c.PVID)
	}
	*v = next
	return nil
}

func (v *vlans) add(vid uint16) { v.members[vid/64] |= 1 << (vid % 64) }

// has reports whether a VLAN is the port's.
func (v *vlans) has(vid uint16) bool { return v.members[vid/64]>>(vid%64)&1 != 0 }

// ingress finds the VLAN of a frame that comes in, and gives the frame the tag
// that it has inside the bridge. It is noVLAN if the frame may not come in.
func (v *vlans) ingress(f *packet.Packet) uint16 {
	tag := tagOf(f)
	if tag == nil {
		if v.pvid != noVLAN {
			pushTag(f, v.pvid)
		}
		return v.pvid
	}
	vid := tag.ID()
	if vid == noVLAN {
		tag.SetTCI(tag.TCI() | v.pvid)
		return v.pvid
	}
	if vid > vlanMax || !v.has(vid) {
		return noVLAN
	}
	return vid
}

// egress takes the tag off where the VLAN is the port's own.
func (v *vlans) egress(f *packet.Packet, vid uint16) {
	if vid == v.pvid {
		popTag(f)
	}
}

// tagOf lends a frame's tag; nil if it has none.
func tagOf(f *packet.Packet) wire.VLAN {
	h := f.Head()
	if wire.Ethernet(h).Type() != wire.EtherTypeVLAN {
		return nil
	}
	return wire.VLAN(h[wire.EthernetLen:])
}

// addressesLen is the length of the two addresses, which stand before the tag.
const addressesLen = wire.EthernetLen - 2

// pushTag puts a tag behind the addresses.
func pushTag(f *packet.Packet, vid uint16) {
	f.Push(wire.VLANLen)
	h := f.Head()
	copy(h, h[wire.VLANLen:][:addressesLen])
	t := wire.Ethernet(h[wire.VLANLen:]).Type()
	wire.Ethernet(h).SetType(wire.EtherTypeVLAN)
	wire.PutVLAN(h[wire.EthernetLen:], 0, false, vid, t)
	f.Link = f.Start()
}

// popTag takes the tag away.
func popTag(f *packet.Packet) {
	h := f.Head()
	copy(h[wire.VLANLen:], h[:addressesLen])
	f.Pull(wire.VLANLen)
	f.Link = f.Start()
}
