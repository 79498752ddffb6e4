// Package sysctl is the tool that reads and writes a host's settings under the
// names that Linux has for them: sysctl, with procps' options and lines.
//
//	sysctl [-n] [-N] [-e] [-q] [-w] NAME[=VALUE]…
//	sysctl -a [-r PATTERN]
//
// Names may have slashes for dots. Files (-p) are not known, which
// [tool.Unknown] says.
package sysctl

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/towpath/towpath/tool"
)

// Tool is sysctl.
var Tool = tool.Tool{
	Name:  "sysctl",
	Usage: "sysctl [-n] [-N] [-e] [-q] { -a [-r PATTERN] | [-w] NAME[=VALUE]… }",
	Short: "reads and writes settings",
	Parse: Parse,
}

type options struct {
	all, valuesOnly, namesOnly, ignore, quiet, write bool

	pattern *regexp.Regexp // nil: all
	names   []string
}

// Parse reads sysctl's arguments.
func Parse(args []string) (tool.Run, error) {
	var o options
	for i := 0; i < len(args); i++ {
		letters, ok := strings.CutPrefix(args[i], "-")
		if !ok {
			o.names = append(o.names, args[i])
			continue
		}
		switch letters {
		case "-all":
			letters = "a"
		case "-values":
			letters = "n"
		case "-names":
			letters = "N"
		case "-write":
			letters = "w"
		case "-pattern":
			letters = "r"
		}
		for _, c := range letters {
			switch c {
			case 'a', 'A', 'X':
				o.all = true
			case 'n':
				o.valuesOnly = true
			case 'N':
				o.namesOnly = true
			case 'e':
				o.ignore = true
			case 'q':
				o.quiet = true
			case 'w':
				o.write = true
			case 'r':
				if i++; i == len(args) {
					return nil, fmt.Errorf("-r needs a pattern")
				}
				p, err := regexp.Compile(args[i])
				if err != nil {
					return nil, fmt.Errorf("%q is no pattern: %w", args[i], err)
				}
				o.pattern = p
			default:
				return nil, tool.Unknown("option " + args[i])
			}
		}
	}
	if !o.all && len(o.names) == 0 {
		return nil, fmt.Errorf("no variables specified")
	}
	return o.run, nil
}

func (o *options) run(_ context.Context, e *tool.Env) error {
	names := o.names
	if o.all {
		names = e.Host.SysctlNames()
	}
	bad := false
	for _, name := range names {
		name, value, set := strings.Cut(name, "=")
		name = strings.ReplaceAll(strings.TrimSpace(name), "/", ".")
		if o.pattern != nil && !o.pattern.MatchString(name) {
			continue
		}
		var errno syscall.Errno
		switch {
		case set:
			value = strings.TrimSpace(value)
			errno = e.Host.SetSysctl(name, value)
		case o.write:
			fmt.Fprintf(e.Stderr, "sysctl: \"%s\" must be of the form name=value\n", name)
			bad = true
			continue
		default:
			value, errno = e.Host.Sysctl(name)
		}
		if errno != 0 {
			if !o.ignore || errno != syscall.ENOENT {
				o.complain(e, name, set, errno)
				bad = true
			}
			continue
		}
		o.print(e, name, value, set)
	}
	if bad {
		return tool.ExitStatus(1)
	}
	return nil
}

// complain says why a setting could not be read or written.
func (o *options) complain(e *tool.Env, name string, set bool, errno syscall.Errno) {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	text := errno.Error()
	text = strings.ToUpper(text[:1]) + text[1:]
	switch {
	case errno == syscall.ENOENT:
		fmt.Fprintf(e.Stderr, "sysctl: cannot stat %s: %s\n", path, text)
	case set:
		fmt.Fprintf(e.Stderr, "sysctl: setting key \"%s\": %s\n", name, text)
	default:
		fmt.Fprintf(e.Stderr, "sysctl: reading key \"%s\": %s\n", name, text)
	}
}

func (o *options) print(e *tool.Env, name, value string, set bool) {
	switch {
	case set && o.quiet:
	case o.namesOnly:
		fmt.Fprintln(e.Stdout, name)
	case o.valuesOnly:
		fmt.Fprintln(e.Stdout, value)
	default:
		fmt.Fprintf(e.Stdout, "%s = %s\n", name, value)
	}
}
