package host

import "net/netip"

// LinkSettings are the tunables of IP on one adapter, under the names that
// Linux's net.ipv4.conf.NAME and net.ipv6.conf.NAME have.
type LinkSettings struct {
	// RPFilter: packets of which the source is routed elsewhere are dropped
	// (RFC 3704): 0 none, 1 unless the way back is by the same adapter, 2
	// unless there is some way back.
	RPFilter int
	// AcceptLocal: packets may come with a source address of this host.
	AcceptLocal int
	// AcceptRedirects and, of IPv6, AcceptRedirects6: routers' redirects are
	// believed by a host that does not forward. SendRedirects: one that does
	// sends them.
	// Routers of IPv6 send them always.
	AcceptRedirects, AcceptRedirects6, SendRedirects int
	// SecureRedirects: only redirects to a router of a default route are
	// believed. SharedMedia, which is the opposite assumption, wins.
	SecureRedirects, SharedMedia int
	// BCForwarding: what is sent to the broadcast address of a network here is
	// forwarded to it (RFC 2644).
	BCForwarding int
	// ProxyARP and ProxyNDP: solicitations for addresses that are routed by
	// another adapter are answered, ProxyNDP for those of [Host.AddProxy].
	ProxyARP, ProxyNDP int
	// ARPIgnore: which ARP requests are answered: 0 for any address of the
	// host, 1 for those of the adapter asked, 2 those of which the network has
	// the sender too, 8 none.
	ARPIgnore int
	// ARPAnnounce: which source ARP requests have: 0 that of the packet, 1 one
	// in the target's network if there is one, 2 always the adapter's best.
	ARPAnnounce int
	// ARPFilter: a request is answered only by the adapter that leads back to
	// the sender.
	ARPFilter int
	// ARPNotify: an address that is added is announced (RFC 5227 §2.3).
	ARPNotify int
	// ARPAccept: announcements make an entry in the neighbour cache.
	ARPAccept int
	// ForceIGMPVersion and ForceMLDVersion are the newest version of IGMP or MLD
	// that is spoken, 0 all there are; with ForceMLDVersion 2 older queriers are
	// not heeded.
	ForceIGMPVersion, ForceMLDVersion int
	// The longest times between reports of news about groups, in milliseconds
	// (igmpv2_unsolicited_report_interval and its kin).
	IGMPv2Interval, IGMPv3Interval, MLDv1Interval, MLDv2Interval int
	// AddrGenMode is how the lower halves of IPv6 addresses are made that nobody
	// gives: 0 of the station address, 1 likewise and no link-local address, 2 of
	// StableSecret (RFC 7217), 3 of a secret that is made up. It is for addresses
	// that are made afterwards.
	AddrGenMode int
	// StableSecret is an IPv6 address of which nobody knows the bits; not valid:
	// none.
	StableSecret netip.Addr
	// UseTempAddr: 0 no temporary addresses (RFC 8981), 1 beside the others, 2
	// and used rather than these.
	UseTempAddr int
	// TempValid and TempPreferred are for how many seconds a temporary address is
	// valid, and preferred; MaxDesync is how many less of the latter it may be.
	TempValid, TempPreferred, MaxDesync int
	// RegenMaxRetry is how many temporary addresses are tried if they are
	// somebody's, RegenMinAdvance how many seconds before one is deprecated the
	// next is made, at least.
	RegenMaxRetry, RegenMinAdvance int
	// DropGratuitousARP: announcements are dropped.
	DropGratuitousARP int
}

// linkDefaults are Linux's.
var linkDefaults = LinkSettings{
	AcceptRedirects: 1, SendRedirects: 1, AcceptRedirects6: 1,
	SecureRedirects: 1, SharedMedia: 1,
	TempValid: 7 * 86400, TempPreferred: 86400, MaxDesync: 600, RegenMaxRetry: 3, RegenMinAdvance: 2,
	IGMPv2Interval: 10000, IGMPv3Interval: 1000, MLDv1Interval: 10000, MLDv2Interval: 1000,
}

// A linkSysctl is one of LinkSettings by name, and how the setting of all
// adapters and an adapter's own make what holds (Linux: IN_DEV_ORCONF and its
// kin).
type linkSysctl struct {
	field   func(*LinkSettings) *int
	most    int // values are 0 to most
	combine func(all, own int) int
}

func either(all, own int) int { return min(all+own, 1) }
func both(all, own int) int   { return min(all, own) }
func larger(all, own int) int { return max(all, own) }
func ownOnly(_, own int) int  { return own }
func allFirst(all, own int) int {
	if all != 0 {
		return all
	}
	return own
}

// oldest is the least that is not 0.
func oldest(all, own int) int {
	if all == 0 || own != 0 && own < all {
		return own
	}
	return all
}

// linkSysctls are, by what follows net.ipv4.conf.NAME and net.ipv6.conf.NAME,
// the settings of adapters.
var linkSysctls4 = map[string]linkSysctl{
	"rp_filter":           {func(s *LinkSettings) *int { return &s.RPFilter }, 2, larger},
	"accept_local":        {func(s *LinkSettings) *int { return &s.AcceptLocal }, 1, either},
	"accept_redirects":    {func(s *LinkSettings) *int { return &s.AcceptRedirects }, 1, either},
	"send_redirects":      {func(s *LinkSettings) *int { return &s.SendRedirects }, 1, either},
	"secure_redirects":    {func(s *LinkSettings) *int { return &s.SecureRedirects }, 1, either},
	"shared_media":        {func(s *LinkSettings) *int { return &s.SharedMedia }, 1, either},
	"bc_forwarding":       {func(s *LinkSettings) *int { return &s.BCForwarding }, 1, both},
	"proxy_arp":           {func(s *LinkSettings) *int { return &s.ProxyARP }, 1, either},
	"arp_ignore":          {func(s *LinkSettings) *int { return &s.ARPIgnore }, 8, larger},
	"arp_announce":        {func(s *LinkSettings) *int { return &s.ARPAnnounce }, 2, larger},
	"arp_filter":          {func(s *LinkSettings) *int { return &s.ARPFilter }, 1, either},
	"arp_notify":          {func(s *LinkSettings) *int { return &s.ARPNotify }, 1, larger},
	"arp_accept":          {func(s *LinkSettings) *int { return &s.ARPAccept }, 1, larger},
	"drop_gratuitous_arp": {func(s *LinkSettings) *int { return &s.DropGratuitousARP }, 1, either},
	"force_igmp_version":  {func(s *LinkSettings) *int { return &s.ForceIGMPVersion }, 3, oldest},

	"igmpv2_unsolicited_report_interval": {func(s *LinkSettings) *int { return &s.IGMPv2Interval }, 1 << 30, ownOnly},
	"igmpv3_unsolicited_report_interval": {func(s *LinkSettings) *int { return &s.IGMPv3Interval }, 1 << 30, ownOnly},
}

var linkSysctls6 = map[string]linkSysctl{
	"accept_redirects":                  {func(s *LinkSettings) *int { return &s.AcceptRedirects6 }, 1, ownOnly},
	"force_mld_version":                 {func(s *LinkSettings) *int { return &s.ForceMLDVersion }, 2, allFirst},
	"mldv1_unsolicited_report_interval": {func(s *LinkSettings) *int { return &s.MLDv1Interval }, 1 << 30, ownOnly},
	"mldv2_unsolicited_report_interval": {func(s *LinkSettings) *int { return &s.MLDv2Interval }, 1 << 30, ownOnly},
	"addr_gen_mode":                     {func(s *LinkSettings) *int { return &s.AddrGenMode }, 3, larger},
	"use_tempaddr":                      {func(s *LinkSettings) *int { return &s.UseTempAddr }, 2, ownOnly},
	"temp_valid_lft":                    {func(s *LinkSettings) *int { return &s.TempValid }, 1<<31 - 1, ownOnly},
	"temp_prefered_lft":                 {func(s *LinkSettings) *int { return &s.TempPreferred }, 1<<31 - 1, ownOnly},
	"max_desync_factor":                 {func(s *LinkSettings) *int { return &s.MaxDesync }, 1<<31 - 1, ownOnly},
	"regen_max_retry":                   {func(s *LinkSettings) *int { return &s.RegenMaxRetry }, 1 << 16, ownOnly},
	"regen_min_advance":                 {func(s *LinkSettings) *int { return &s.RegenMinAdvance }, 1 << 30, ownOnly},
	"proxy_ndp":                         {func(s *LinkSettings) *int { return &s.ProxyNDP }, 1, larger},
}

// linkConf are the settings of all adapters, of those to come, and each one's
// own; and what follows from them. It is immutable but while being edited.
type linkConf struct {
	all, deflt LinkSettings
	own        []LinkSettings // by adapter; [0] is nobody's
	inForce    []LinkSettings // likewise
}

func newLinkConf() linkConf {
	return linkConf{all: linkDefaults, deflt: linkDefaults, own: make([]LinkSettings, 1), inForce: make([]LinkSettings, 1)}
}

// edited is a copy with room for n adapters, in which change has been made.
func (c linkConf) edited(n int, change func(*linkConf)) linkConf {
	own := make([]LinkSettings, n)
	for i := copy(own, c.own); i < n; i++ {
		own[i] = c.deflt
	}
	c.own = own
	change(&c)
	c.inForce = make([]LinkSettings, n)
	for i := range own {
		for _, table := range []map[string]linkSysctl{linkSysctls4, linkSysctls6} {
			for _, s := range table {
				*s.field(&c.inForce[i]) = s.combine(*s.field(&c.all), *s.field(&c.own[i]))
			}
		}
		if c.inForce[i].StableSecret = c.own[i].StableSecret; !c.own[i].StableSecret.IsValid() {
			c.inForce[i].StableSecret = c.deflt.StableSecret
		}
	}
	return c
}
