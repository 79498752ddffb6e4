package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/service/echo"
	"github.com/towpath/towpath/service/http"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/tool/arp"
	"github.com/towpath/towpath/tool/get"
	"github.com/towpath/towpath/tool/ip"
	"github.com/towpath/towpath/tool/nc"
	"github.com/towpath/towpath/tool/ping"
	"github.com/towpath/towpath/tool/route"
	"github.com/towpath/towpath/tool/sleep"
	"github.com/towpath/towpath/tool/ss"
	"github.com/towpath/towpath/tool/sysctl"
	"github.com/towpath/towpath/tool/tcpdump"
	"github.com/towpath/towpath/tool/traceroute"
)

// tools and services are what hosts have built in.
var (
	tools = []tool.Tool{
		arp.Tool, get.Tool, ip.Tool, nc.Tool, ping.Tool, route.Tool, sleep.Tool, ss.Tool, sysctl.Tool, tcpdump.Tool,
		traceroute.Tool,
	}
	services = []service.Service{echo.Service, http.Service}
)

// readRun reads a command of a node's run list.
func (d *diagnostics) readRun(s *Spec, n *Node, t *tree) {
	c, ok := d.command(t)
	if !ok {
		return
	}
	if n.Kind == Machine {
		ok = d.program(s, c)
	} else {
		ok = d.hostCommand(s, c)
	}
	if ok {
		n.Run = append(n.Run, *c)
	}
}

// hostCommand finds the built-in tool that a command names, or makes sure that a
// program of that name exists.
func (d *diagnostics) hostCommand(s *Spec, c *Command) bool {
	var known []string
	for _, x := range tools {
		known = append(known, x.Name)
		if x.Name != c.Args[0] {
			continue
		}
		run, err := x.Parse(c.Args[1:])
		if forOriginal(x.Name, err) {
			return d.program(s, c)
		}
		if err != nil {
			d.errorf(c.Pos, "%s: %v; write %s", x.Name, err, x.Usage)
			return false
		}
		c.tool = run
		return true
	}
	for _, x := range services {
		if x.Name == c.Args[0] {
			d.errorf(c.Pos, "%s is a service; write it under serve", x.Name)
			return false
		}
	}
	if _, err := exec.LookPath(c.Args[0]); err == nil || strings.Contains(c.Args[0], "/") {
		return d.program(s, c)
	}
	if near := nearest(c.Args[0], known); near != "" {
		d.errorf(c.Pos, "a host has no tool %q; did you mean %q?", c.Args[0], near)
		return false
	}
	return d.program(s, c)
}

// forOriginal reports whether a tool's words are for the program that it is made
// after, and that is there.
func forOriginal(name string, err error) bool {
	var unknown tool.Unknown
	if !errors.As(err, &unknown) {
		return false
	}
	_, err = exec.LookPath(name)
	return err == nil
}

// realOr is what to write for a word that is no service.
func realOr(word string, known []string) string {
	if k := nearest(word, known); k != "" {
		return fmt.Sprintf("did you mean %q?", k)
	}
	return "write one of " + strings.Join(known, ", ") + ", or make the node kind: machine to run real programs"
}

// readService reads an entry of a node's serve list: a command, or a mapping of
// one and its port.
func (d *diagnostics) readService(s *Spec, n *Node, t *tree) {
	var c *Command
	port, ready, ok := 0, "", true
	var readyAt Pos
	if t.shape == mapping {
		var run *tree
		ok = d.mapping(t, "a service", fields{
			"run":  func(t *tree) { run = t },
			"port": func(t *tree) { port = d.number(t, "a port", 1, 65535) },
			"ready": func(t *tree) {
				ready, _ = d.word(t, "text that the program prints when it can be used")
				readyAt = t.Pos
			},
		})
		switch {
		case !ok:
		case run == nil:
			d.errorf(t.Pos, "a service needs run; write {run: COMMAND, port: 80}")
			ok = false
		default:
			c, ok = d.command(run)
		}
	} else {
		c, ok = d.command(t)
	}
	if !ok {
		return
	}
	if c.Port, c.Ready = port, ready; ready != "" && n.Kind == Host {
		d.errorf(readyAt, "a host's services can be used as soon as they are started; leave ready out")
		return
	}
	if n.Kind == Machine {
		ok = d.program(s, c)
	} else {
		ok = d.hostService(s, c)
	}
	if ok {
		n.Serve = append(n.Serve, *c)
	}
}

// hostService finds the built-in service that a command names.
func (d *diagnostics) hostService(s *Spec, c *Command) bool {
	var known []string
	for _, x := range services {
		known = append(known, x.Name)
		if x.Name != c.Args[0] {
			continue
		}
		start, err := x.Parse(c.Args[1:], service.Options{Dir: s.Dir, Port: c.Port})
		if err != nil {
			d.errorf(c.Pos, "%s: %v; write %s", x.Name, err, x.Usage)
			return false
		}
		c.start = start
		return true
	}
	for _, x := range tools {
		if x.Name == c.Args[0] {
			d.errorf(c.Pos, "%s is a tool; write it under run", x.Name)
			return false
		}
	}
	d.errorf(c.Pos, "a host has no service %q; %s", c.Args[0], realOr(c.Args[0], known))
	return false
}

// command splits a command into words.
func (d *diagnostics) command(t *tree) (*Command, bool) {
	text, ok := d.word(t, "a command")
	if !ok {
		return nil, false
	}
	args, err := words(text)
	if err != nil {
		d.errorf(t.Pos, "%v", err)
		return nil, false
	}
	return &Command{Pos: t.Pos, Text: text, Args: args}, true
}

// program makes sure that a machine's program exists.
func (d *diagnostics) program(s *Spec, c *Command) bool {
	name := c.Args[0]
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		switch fi, err := os.Stat(path); {
		case err != nil:
			d.errorf(c.Pos, "there is no program %s; write a path that begins at the lab file's directory, or at /", name)
			return false
		case fi.IsDir() || fi.Mode()&0o111 == 0:
			d.errorf(c.Pos, "%s is not a program; make it executable with chmod +x", name)
			return false
		}
		return true
	}
	if _, err := exec.LookPath(name); err != nil {
		hint := "install it or write its path"
		if pkg := debianPackage[name]; pkg != "" {
			hint = "install it (Debian: apt-get install " + pkg + ") or write its path"
		}
		if shellWord(name) {
			hint = fmt.Sprintf("for the shell's words write sh -c '%s'", c.Text)
		}
		d.errorf(c.Pos, "there is no program %q in PATH; %s", name, hint)
		return false
	}
	return true
}

// debianPackage says where programs that people use in labs come from.
var debianPackage = map[string]string{
	"curl": "curl", "dig": "bind9-dnsutils", "ethtool": "ethtool", "ip": "iproute2", "iperf3": "iperf3",
	"nc": "netcat-openbsd", "nginx": "nginx", "nmap": "nmap", "ping": "iputils-ping", "python3": "python3",
	"socat": "socat", "ss": "iproute2", "ssh": "openssh-client", "tcpdump": "tcpdump",
	"telnet": "telnet", "tracepath": "iputils-tracepath", "traceroute": "traceroute", "wget": "wget",
}

func shellWord(w string) bool {
	return slices.Contains([]string{"cd", "export", "for", "if", "while", "until", "set", "source", "exec"}, w) ||
		strings.Contains(w, "=")
}

// Words splits a command into words, as a lab file's commands are.
func Words(s string) ([]string, error) { return words(s) }

// words splits a command as a shell would, but for expansion: quotes and
// backslashes mean what they do there, and there are no variables, patterns or
// pipes.
func words(s string) ([]string, error) {
	var args []string
	var w strings.Builder
	in, quoted := false, false // inside a word; with quotes
	finish := func() error {
		if in {
			if !quoted && slices.Contains([]string{"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"}, w.String()) {
				return fmt.Errorf("%q is for a shell; write sh -c '%s'", w.String(), s)
			}
			args = append(args, w.String())
		}
		w.Reset()
		in, quoted = false, false
		return nil
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\n':
			if err := finish(); err != nil {
				return nil, err
			}
		case '\'', '"':
			in, quoted = true, true
			n, err := unquote(&w, s[i+1:], c)
			if err != nil {
				return nil, err
			}
			i += n
		case '\\':
			if i++; i == len(s) {
				return nil, errors.New("the command ends with a backslash; write the character that it quotes")
			}
			w.WriteByte(s[i])
			in, quoted = true, true
		case 0:
			return nil, errors.New("a zero byte cannot be in a command; leave it out")
		default:
			w.WriteByte(c)
			in = true
		}
	}
	if err := finish(); err != nil {
		return nil, err
	}
	if len(args) == 0 || args[0] == "" {
		return nil, errors.New("the command is empty; write a program and its arguments")
	}
	return args, nil
}

// unquote adds the text up to the closing quote to w and returns how many
// bytes it took.
func unquote(w *strings.Builder, s string, quote byte) (int, error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1, nil
		case s[i] == 0:
			return 0, errors.New("a zero byte cannot be in a command; leave it out")
		case s[i] == '\\' && quote == '"' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		w.WriteByte(s[i])
	}
	return 0, fmt.Errorf("a quotation begins with %c and does not end; write the closing %c", quote, quote)
}
