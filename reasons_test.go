package towpath_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/towpath/towpath/packet"
)

// reached names, for every reason for which a packet may be dropped, the test
// that drops one there, as folder:test; or, after a dash, why none can.
const reached = `
ReasonAdapterDown      link:TestDropReasons
ReasonAdapterDownIn    link:TestDropReasons
ReasonAdapterClosed    link:TestDropReasons
ReasonOutQueueFull     link:TestDropReasons
ReasonOutQueueFlushed  link:TestDropReasons
ReasonCableQueueFull   link:TestDropReasons
ReasonCableCut         link:TestDropReasons
ReasonCableLoose       link:TestDropReasons
ReasonCableFlushed     link:TestDropReasons
ReasonRunnerLost       link:TestDropReasons
ReasonFrameTooBig      link:TestDropReasons
ReasonSegmentFailed    link:TestDropReasons
ReasonNetemUncut       link/netem:TestDropReasons
ReasonNetemLossIf      link/netem:TestDropReasons
ReasonNetemLossEvery   link/netem:TestDropReasons
ReasonNetemLossBurst   link/netem:TestDropReasons
ReasonNetemLoss        link/netem:TestDropReasons
ReasonNetemMemory      link/netem:TestDropReasons
ReasonNetemLimit       link/netem:TestDropReasons
ReasonNetemDownIn      link/netem:TestDropReasons
ReasonNetemRunner      link/netem:TestDropReasons
ReasonNetemDetached    link/netem:TestDropReasons
ReasonBridgeShort      link/bridge:TestDropReasons
ReasonBridgeSource     link/bridge:TestDropReasons
ReasonBridgeReserved   link/bridge:TestDropReasons
ReasonBridgeVLAN       link/bridge:TestDropReasons
ReasonBridgeBack       link/bridge:TestDropReasons
ReasonBridgeGone       link/bridge:TestDropReasons
ReasonBridgeNobody     link/bridge:TestDropReasons
ReasonDeviceWrite      link/tun:TestDropReasons
ReasonDeviceClosed     link/tun:TestDropReasons
ReasonDeviceOffload    internal/sys/vnet:TestDecode
ReasonDeviceShort      - the kernel hands out whole packets only
ReasonEthernetShort    host:TestDropReasons
ReasonEthernetNotForUs host:TestDropReasons
ReasonEtherType        host:TestDropReasons
ReasonARPMalformed     host:TestDropReasons
ReasonARPSender        host:TestDropReasons
ReasonARPNotForUs      host:TestDropReasons
ReasonARPConflict      host:TestARPConflict
ReasonARPGratuitous    host:TestARPSettings
ReasonNeighborMemory   host:TestNeighborBudget
ReasonNeighborQueue    host:TestDropNeighbors
ReasonNeighborFailed   host:TestDropNeighbors
ReasonNeighborRecent   host:TestDropNeighbors
ReasonNeighborTable    host:TestDropNeighbors
ReasonNeighborGone     ip/neigh:TestGone
ReasonNeighborFlushed  host:TestDropNeighbors
ReasonIPVersion        host:TestDropVersion
ReasonSourceOurs       host:TestDropReasons
ReasonHopByHop         host:TestOptions6
ReasonDestOption       host:TestOptions6
ReasonRoutingHeader    host:TestOptions6
ReasonRouteDead        host:TestMultipath
ReasonNDPLooped        host:TestProbeLooped
ReasonReversePath      host:TestReversePath
ReasonForwardStations  host:TestDropReasons
ReasonDirectedBroadcast host:TestDropReasons
ReasonNDPRedirect      host:TestRedirectIn
ReasonNDPRedirectIgnored host:TestRedirectIn
ReasonRedirectInvalid  host:TestRedirectIn
ReasonRedirectIgnored  host:TestRedirectIn
ReasonIPMalformed      host:TestDropReasons
ReasonIPChecksum       host:TestDropReasons
ReasonIPExtension      host:TestDropReasons
ReasonIPOptions        host:TestDropReasons
ReasonIPSourceRoute    host:TestDropReasons
ReasonIPSource         host:TestDropReasons
ReasonIPFragment       host:TestDropReasons
ReasonFragMemory       host:TestFragmentBudget
ReasonFragHeader       ip/frag:TestRules
ReasonFragEmpty        ip/frag:TestRules
ReasonFragLength       ip/frag:TestRules
ReasonFragOversize     ip/frag:TestRules
ReasonFragDuplicate    ip/frag:TestRules
ReasonFragOverlap      ip/frag:TestRules
ReasonFragEnd          ip/frag:TestRules
ReasonFragECN          ip/frag:TestRules
ReasonFragMany         ip/frag:TestMany
ReasonFragAbandoned    ip/frag:TestRules
ReasonFragEvicted      ip/frag:TestShare
ReasonFragTimeout      ip/frag:TestTimeout
ReasonFragFlushed      ip/frag:TestFlush
ReasonIGMPMalformed    ip/group:TestRefused
ReasonIGMPChecksum     ip/group:TestRefused
ReasonIGMPGroup        ip/group:TestRefused
ReasonIGMPType         ip/group:TestRefused
ReasonMLDMalformed     ip/group:TestRefused
ReasonMLDSource        ip/group:TestRefused
ReasonMLDGroup         ip/group:TestRefused
ReasonMLDType          ip/group:TestRefused
ReasonLoopback         host:TestDropReasons
ReasonNotForUs         host:TestDropReasons
ReasonGroup            host:TestDropReasons
ReasonForwardSource    host:TestDropReasons
ReasonTTL              host:TestDropReasons
ReasonNoRoute          host:TestDropReasons
ReasonFragmentSuper    - own super-segments are not fragmented, others' were looked at when they came
ReasonFragmentFailed   - no link's MTU is less than a header and eight bytes
ReasonRouteBlackhole   host:TestRouteKinds
ReasonRouteUnreachable host:TestRouteKinds
ReasonRouteProhibit    host:TestRouteKinds
ReasonTooBig           host:TestDropReasons
ReasonRule             host:TestDropReasons
ReasonSocketRule       host:TestDropReasons
ReasonStolen           host:TestDropReasons
ReasonInjectGone       host:TestInjectGone
ReasonInjectAdapter    host:TestInjectGone
ReasonProtocol         host:TestDropReasons
ReasonICMPMalformed    host:TestDropReasons
ReasonICMPChecksum     host:TestDropReasons
ReasonICMPType         host:TestDropReasons
ReasonICMPQuote        host:TestDropReasons
ReasonICMPNoSocket     host:TestDropReasons
ReasonEchoIgnored      host:TestDropReasons
ReasonEchoNoRoute      host:TestDropReasons
ReasonEchoUnasked      host:TestDropReasons
ReasonNDPHopLimit      host:TestDropReasons
ReasonNDPSolicit       host:TestDropReasons
ReasonNDPAdvert        host:TestDropReasons
ReasonNDPNotForUs      host:TestDropReasons
ReasonNDPDuplicate     host:TestDuplicateAddress
ReasonNDPRouter        host:TestDropReasons
ReasonNDPRouterIgnored host:TestDropReasons
ReasonNDPConflict      host:TestDropReasons
ReasonUDPMalformed     host:TestDropReasons
ReasonUDPChecksum      host:TestDropReasons
ReasonUDPNoSocket      host:TestDropReasons
ReasonUDPNoListener    host:TestDropReasons
ReasonUDPSource        host:TestSourceFilters
ReasonUDPQueueFull     host:TestDropReasons
ReasonUDPMemory        host:TestMemoryBudget
ReasonTCPMemory        host:TestMemoryBudget
ReasonTCPSynMemory     host:TestMemoryBudget
ReasonUDPClosed        host:TestDropClosed
ReasonRawChecksum      host:TestRawDrops
ReasonRawQueueFull     host:TestRawDrops
ReasonRawMemory        host:TestRawDrops
ReasonRawFilter        host:TestSocketFilter
ReasonUDPFilter        host:TestSocketFilter
ReasonPacketQueueFull  host:TestPacketDrops
ReasonPacketMemory     host:TestPacketDrops
ReasonPacketClosed     host:TestPacketDrops
ReasonTCPMalformed     host:TestDropReasons
ReasonTCPChecksum      host:TestDropReasons
ReasonTCPNoSocket      host:TestDropReasons
ReasonTCPListen        host:TestDropReasons
ReasonTCPNoRoute       host:TestDropReasons
ReasonTCPBacklog       host:TestDropReasons
ReasonTCPAcceptQueue   host:TestAcceptQueueFull
ReasonTCPCookieRoute   host:TestDropReasons
ReasonTCPCookieOptions host:TestDropReasons
ReasonTCPCookieAck     host:TestSynCookieRefused
ReasonTCPOptions          tcp:TestMalformedOptions
ReasonTCPSynOptions       tcp:TestMalformedOptions
ReasonTCPTimeWaitOptions  tcp:TestMalformedOptions
ReasonTCPEnded            tcp/testdata
ReasonTCPNotSyn           tcp/testdata
ReasonTCPSynSentAck       tcp/testdata
ReasonTCPSynSentEcho      tcp/testdata
ReasonTCPSynSentReset     tcp/testdata
ReasonTCPFlags            tcp/testdata
ReasonTCPSynRepeated      tcp/testdata
ReasonTCPPaws             tcp/testdata
ReasonTCPReset            tcp/testdata
ReasonTCPSyn              tcp/testdata
ReasonTCPNoAck            tcp/testdata
ReasonTCPResetWindow      tcp/testdata
ReasonTCPSynWindow        tcp/testdata
ReasonTCPDuplicate        tcp/testdata
ReasonTCPWindow           tcp/testdata
ReasonTCPSynAckAck        tcp/testdata
ReasonTCPAckUnsent        tcp/testdata
ReasonTCPOldAck           tcp/testdata
ReasonTCPAfterFin         tcp/testdata
ReasonTCPClosed           tcp/testdata
ReasonTCPClosedWindow     tcp/testdata
ReasonTCPBuffer           tcp:TestIslands
ReasonTCPPruned           tcp:TestIslands
ReasonTCPKnown            tcp/testdata
ReasonTCPTimeWait         tcp/testdata
ReasonTCPTimeWaitAck      tcp/testdata
ReasonTCPTimeWaitReset    tcp/testdata
ReasonTCPTimeWaitOldReset tcp/testdata
ReasonTCPTimeWaitPaws     tcp/testdata
ReasonTCPMD5Missing    tcp/testdata
ReasonTCPMD5Unexpected tcp/testdata
ReasonTCPMD5Wrong      tcp/testdata
ReasonTCPDeferred      tcp/testdata
ReasonHostClosed       host:TestDropClosed
`

// twins are reasons that stand at two places because these are each other's
// IPv4 and IPv6 twin, or the drop and the counting of one decision.
const twins = `
ReasonIPMalformed ReasonIPSource ReasonLoopback ReasonICMPMalformed ReasonICMPChecksum ReasonICMPType
ReasonHostClosed ReasonNeighborFlushed
`

var reasonName = regexp.MustCompile(`^Reason[A-Z]`)

// TestDropReasonsListed holds the list above against the source: every reason
// is used, at one place, and has a test that exists.
func TestDropReasonsListed(t *testing.T) {
	tests := make(map[string]bool)     // folder:TestName
	sites := make(map[string][]string) // reason to places
	declared := make(map[string]bool)  // in package packet
	values := make(map[string]packet.Reason)
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (path == "bench" || d.Name() == "linktest" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return orSkip(err)
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_other.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if strings.HasSuffix(path, "_test.go") {
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok {
					tests[dir+":"+fn.Name.Name] = true
				}
			}
			return nil
		}
		if dir == "link/afpacket" {
			return nil // drops as link/tun does; an adapter has one driver
		}
		if path == filepath.Join("packet", "reason.go") {
			ast.Inspect(f, func(n ast.Node) bool {
				if v, ok := n.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						if reasonName.MatchString(name.Name) && name.Name != "ReasonCount" {
							declared[name.Name] = true
							values[name.Name] = packet.Reason(len(declared))
						}
					}
				}
				return true
			})
			return nil
		}
		counted := make(map[*ast.IndexExpr]bool)
		var visit func(n ast.Node) bool
		visit = func(n ast.Node) bool {
			// A case asks about a reason, it does not drop for it.
			if c, ok := n.(*ast.CaseClause); ok {
				for _, st := range c.Body {
					ast.Inspect(st, visit)
				}
				return false
			}
			// Nor does a comparison.
			if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) {
				return false
			}
			// Counting is a place of its own where nothing is dropped beside it.
			switch st := n.(type) {
			case *ast.IncDecStmt:
				mark(counted, st.X)
			case *ast.AssignStmt:
				if st.Tok == token.ADD_ASSIGN {
					mark(counted, st.Lhs[0])
				}
			}
			if ix, ok := n.(*ast.IndexExpr); ok && !counted[ix] {
				if _, ok := ix.Index.(*ast.SelectorExpr); ok {
					return false // counting it
				}
			}
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "packet" && reasonName.MatchString(s.Sel.Name) && s.Sel.Name != "ReasonCount" {
					sites[s.Sel.Name] = append(sites[s.Sel.Name], fset.Position(s.Pos()).String())
				}
			}
			return true
		}
		ast.Inspect(f, visit)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)
	for line := range strings.Lines(strings.TrimSpace(reached)) {
		name, where, _ := strings.Cut(strings.TrimSpace(line), " ")
		listed[name] = strings.TrimSpace(where)
	}
	two := make(map[string]bool)
	for _, name := range strings.Fields(twins) {
		two[name] = true
	}
	names := make([]string, 0, len(declared))
	for name := range declared {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		where := listed[name]
		n := len(sites[name])
		switch {
		case n == 0:
			t.Errorf("%s is declared in package packet and used nowhere", name)
		case n > 2 || n == 2 && !two[name]:
			t.Errorf("%s stands at %d places, which a counter cannot tell apart: %v", name, n, sites[name])
		}
		switch {
		case where == "":
			t.Errorf("%s is not on the list of reasons and their tests", name)
		case strings.HasPrefix(where, "-"):
		case strings.HasSuffix(where, "/testdata"):
			if r := values[name]; !scripts(t, where)[r.String()] {
				t.Errorf("%s: no script in %s says %q", name, where, "reason "+r.String())
			}
		case !tests[where]:
			t.Errorf("%s: there is no test %s", name, where)
		}
	}
	for name := range listed {
		if !declared[name] {
			t.Errorf("%s is on the list and not declared in package packet", name)
		}
	}
}

// scripts returns the words behind "reason" in a folder's scripts.
func scripts(t *testing.T, dir string) map[string]bool {
	said := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if r, ok := strings.CutPrefix(strings.TrimSpace(line), "reason "); ok {
				said[r] = true
			}
		}
	}
	return said
}

func mark(m map[*ast.IndexExpr]bool, e ast.Expr) {
	if ix, ok := e.(*ast.IndexExpr); ok {
		m[ix] = true
	}
}

func orSkip(err error) error {
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return fs.SkipDir
}
