// Package bridge joins adapters to one Ethernet: a learning bridge, as a switch
// or Linux's bridge device is, with VLANs.
//
//	b := bridge.New(bridge.Config{Filtering: true})
//	office, err := b.AddPort(link.NewAdapter("p1", 1, toAlice), bridge.PortConfig{PVID: 10})
//	uplink, err := b.AddPort(link.NewAdapter("p2", 2, toCore), bridge.PortConfig{Tagged: []uint16{10, 20}})
//	…
//	b.Close()
//
// # Theory of operation
//
// A port is an adapter that nobody else is bound to. Its driver reaches the
// station: one end of a cable, a TAP device, a packet socket. Taps, filters and
// counters of the adapter are those of the port.
//
//	      stations' table: (VLAN, address) -> port, when seen
//	        learn ^              | look up
//	              |              v
//	ingress: valid, VLAN    egress: VLAN, tag or none
//	   ^        ^        \/       |        |
//	   |        |        /\       v        v
//	 adapter  adapter          adapter  adapter
//
// A batch is worked on under the bridge's one lock, in the order of its frames:
// frameIn decides by which port each goes on, and the frames are put on the
// ports' out queues, which fixes their order. Flushing is owed to the caller's
// [link.Work], so that calls do not nest however many bridges stand in a row.
//
// A station is known by the source address of what it sends, for as long as
// [Config.Ageing] after it was last heard (IEEE 802.1D-2004 §7.8, §7.9). What is
// for a known station goes to its port, or nowhere if it came from there; what
// is for an unknown one, and for groups, goes to every other port of the VLAN.
// A frame that goes by several ports is cloned: heads are copied, payloads are
// shared, super-segments and partial checksums stay as they are.
//
// The table is bounded. No port may fill more than half of it, so that a
// station that invents addresses makes its own frames known and not everybody
// else's unknown. What finds no room is not learned, and is flooded to.
//
// With [Config.Filtering] each port belongs to VLANs, and frames pass between
// ports of one VLAN only (IEEE 802.1Q-2018 §8.6; Linux: vlan_filtering). A frame
// without a tag, or with one that carries only a priority, is in the port's
// PVID. It leaves by a port without a tag where that VLAN is the port's PVID,
// and with one elsewhere. Without filtering tags are bytes like others.
//
// Limits: groups are flooded, for nobody listens to IGMP and MLD here. Ports do
// not speak the spanning tree protocol: ports that form a loop must not be
// joined. A tag is one of 802.1Q (0x8100); frames with service tags (0x88a8)
// count as untagged. A host that is to be on a bridge has a cable to a port.
package bridge
