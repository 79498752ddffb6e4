package ip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/tool"
)

// Tool is ip.
var Tool = tool.Tool{
	Name:  "ip",
	Usage: "ip [-4 | -6] [-br] [-j] [-p] [-s] [-o] { addr | link | route | neigh } [COMMAND]",
	Short: "shows and changes interfaces, addresses, routes and neighbours",
	Parse: Parse,
}

// options are those before the object.
type options struct {
	family  int // 4, 6, or 0: not said
	brief   bool
	json    bool
	pretty  bool
	stats   bool
	oneline bool
}

// A call is a command line that is being run.
type call struct {
	options
	*tool.Env
}

// Parse reads ip's arguments.
func Parse(args []string) (tool.Run, error) {
	var o options
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch word := strings.TrimPrefix(args[0], "-"); word {
		case "4", "6":
			o.family = int(word[0] - '0')
		case "br", "brief":
			o.brief = true
		case "j", "js", "json":
			o.json = true
		case "p", "pretty":
			o.pretty = true
		case "s", "stats", "statistics":
			o.stats = true
		case "o", "oneline":
			o.oneline = true
		case "c", "color", "c=never", "color=never": // never
		case "f", "family":
			if len(args) < 2 {
				return nil, errors.New("-f needs inet or inet6")
			}
			families := map[string]int{"inet": 4, "inet6": 6}
			if o.family = families[args[1]]; o.family == 0 {
				return nil, tool.Unknown("family " + args[1])
			}
			args = args[1:]
		default:
			return nil, tool.Unknown("option " + args[0])
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return nil, errors.New("an object is wanted")
	}
	object := whole(args[0], "address", "addr", "link", "route", "neighbour", "neighbor")
	var do func(c *call) error
	var err error
	switch object {
	case "address", "addr":
		do, err = parseAddr(args[1:])
	case "link":
		do, err = parseLink(args[1:])
	case "route":
		do, err = parseRoute(args[1:])
	case "neighbour", "neighbor":
		do, err = parseNeigh(args[1:])
	default:
		return nil, tool.Unknown("object " + args[0])
	}
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, e *tool.Env) error { return do(&call{o, e}) }, nil
}

// whole is the first of some words that begins with s; s if none does.
func whole(s string, words ...string) string {
	for _, w := range words {
		if s != "" && strings.HasPrefix(w, s) {
			return w
		}
	}
	return s
}

// command splits the command off, which is show if there is none.
func command(args []string, known ...string) (string, []string) {
	if len(args) == 0 {
		return "show", nil
	}
	return whole(args[0], append(known, "show", "list", "lst")...), args[1:]
}

// device reads [dev] NAME, which may be missing.
func device(args []string) (string, error) {
	if len(args) > 0 && args[0] == "dev" {
		args = args[1:]
		if len(args) == 0 {
			return "", errors.New("dev needs an interface")
		}
	}
	switch len(args) {
	case 0:
		return "", nil
	case 1:
		return args[0], nil
	}
	return "", tool.Unknown(strings.Join(args[1:], " "))
}

func parseAddr(args []string) (func(*call) error, error) {
	word, rest := command(args, "add", "delete", "flush")
	switch word {
	case "show", "list", "lst":
		name, err := device(rest)
		return func(c *call) error { return c.showLinks(name, true) }, err
	case "flush":
		name, err := device(rest)
		if name == "" && err == nil {
			err = errors.New("flush needs dev and an interface")
		}
		return func(c *call) error { return c.flushAddrs(name) }, err
	case "add", "delete":
		if len(rest) != 3 || rest[1] != "dev" {
			return nil, fmt.Errorf("%s needs a prefix, and dev and an interface", word)
		}
		p, err := prefix(rest[0])
		if err != nil {
			return nil, err
		}
		return func(c *call) error { return c.changeAddr(word == "add", p, rest[2]) }, nil
	}
	return nil, tool.Unknown("command " + word)
}

// prefix reads an address with or without the length of its network's prefix.
func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no prefix", s)
	}
	return p, nil
}

func parseLink(args []string) (func(*call) error, error) {
	word, rest := command(args, "set")
	switch word {
	case "show", "list", "lst":
		name, err := device(rest)
		return func(c *call) error { return c.showLinks(name, false) }, err
	case "set":
		if len(rest) > 0 && rest[0] == "dev" {
			rest = rest[1:]
		}
		if len(rest) != 2 || rest[1] != "up" && rest[1] != "down" {
			return nil, tool.Unknown("link set " + strings.Join(rest, " "))
		}
		return func(c *call) error {
			a, err := c.adapter(rest[0])
			if err == nil {
				a.SetUp(rest[1] == "up")
			}
			return err
		}, nil
	}
	return nil, tool.Unknown("command " + word)
}

func parseNeigh(args []string) (func(*call) error, error) {
	word, rest := command(args)
	if word != "show" && word != "list" && word != "lst" {
		return nil, tool.Unknown("command " + word)
	}
	name, err := device(rest)
	return func(c *call) error { return c.showNeighbors(name) }, err
}

// A routeSpec is what is said of a route.
type routeSpec struct {
	route.Route
	dev    string
	metric bool // it was said
}

func parseRoute(args []string) (func(*call) error, error) {
	word, rest := command(args, "add", "append", "replace", "delete", "get")
	switch word {
	case "show", "list", "lst":
		var s routeSpec
		var err error
		if len(rest) > 0 && rest[0] != "dev" {
			s, err = parseRouteSpec(rest[:1])
			rest = rest[1:]
		}
		if err == nil {
			s.dev, err = device(rest)
		}
		return func(c *call) error { return c.showRoutes(s) }, err
	case "get":
		if len(rest) != 1 {
			return nil, errors.New("get needs an address")
		}
		a, err := netip.ParseAddr(rest[0])
		if err != nil {
			err = fmt.Errorf("%q is no address", rest[0])
		}
		return func(c *call) error { return c.getRoute(a) }, err
	case "add", "replace", "delete":
		s, err := parseRouteSpec(rest)
		return func(c *call) error { return c.changeRoute(word, s) }, err
	}
	return nil, tool.Unknown("command " + word)
}

var kinds = map[string]route.Kind{
	"unicast": route.Unicast, "blackhole": route.Blackhole, "unreachable": route.Unreachable, "prohibit": route.Prohibit,
}

func parseRouteSpec(args []string) (s routeSpec, err error) {
	if len(args) > 0 {
		if k, ok := kinds[args[0]]; ok {
			s.Kind, args = k, args[1:]
		}
	}
	if len(args) == 0 {
		return s, errors.New("a prefix, or default, is wanted")
	}
	to, args := args[0], args[1:]
	for len(args) > 0 {
		key := args[0]
		if len(args) < 2 {
			return s, fmt.Errorf("%s needs a value", key)
		}
		value := args[1]
		args = args[2:]
		switch key {
		case "via":
			s.Via, err = netip.ParseAddr(value)
		case "src":
			s.Source, err = netip.ParseAddr(value)
		case "dev":
			s.dev = value
		case "metric":
			s.metric = true
			s.Metric, err = number(value)
		case "table":
			if value != "main" {
				err = tool.Unknown("table " + value)
			}
		case "proto", "scope": // what they usually are
		case "mtu":
			if s.MTULock = value == "lock"; s.MTULock {
				if len(args) == 0 {
					return s, errors.New("mtu lock needs a number")
				}
				value, args = args[0], args[1:]
			}
			var n uint32
			n, err = number(value)
			s.MTU = int(n)
		default:
			err = tool.Unknown(key)
		}
		if _, unknown := err.(tool.Unknown); err != nil && !unknown {
			return s, fmt.Errorf("%s: %q is none", key, value)
		}
		if err != nil {
			return s, err
		}
	}
	if to != "default" {
		if s.Dst, err = prefix(to); err == nil && s.Dst != s.Dst.Masked() {
			err = fmt.Errorf("%s has bits beyond its length", to)
		}
		return s, err
	}
	s.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if s.Via.Is6() {
		s.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return s, nil
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err
}
