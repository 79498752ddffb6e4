package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/run"
)

// A finding is what doctor says of one thing.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // labs with machines cannot do without
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do about it
}

// A diagnosis is all that doctor says. Its names in JSON do not change.
type diagnosis struct {
	Machines bool      `json:"machines"` // labs with machines can run
	Why      string    `json:"why,omitempty"`
	Findings []finding `json:"findings"`
}

func doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this system allows, what is missing, and what to do",
		Long: `Look at what labs need of this system: namespaces and devices for machines, and
the programs that people use in labs. Hosts and cables need nothing of it. The
exit status is 0 if labs with machines can run.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := diagnose(machine.Probe(), run.Probe(), exec.LookPath)
			if asJSON {
				if err := printJSON(c.OutOrStdout(), d); err != nil {
					return err
				}
			} else {
				d.print(c.OutOrStdout())
			}
			if !d.Machines {
				return &failed{errors.New("labs with machines cannot run here: " + d.Why)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// remedies say what to do where a check of package machine is not good.
var remedies = map[string]string{
	"user namespaces":         "as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000; in a container, run it with --security-opt seccomp=unconfined",
	"tap devices":             "nothing, if veth pairs work; else chmod 666 /dev/net/tun, or modprobe tun",
	"veth and packet sockets": "nothing, if TAP devices work; else modprobe veth af_packet",
	"mounts":                  "let mounts be made in user namespaces; in a container, run it with --security-opt apparmor=unconfined",
	"own /proc":               "in a container, run it with --security-opt systempaths=unconfined",
}

// tools are programs that labs like to run, and the Debian packages with them.
var tools = []struct{ name, pkg, use string }{
	{"tcpdump", "tcpdump", "reads captures"},
	{"curl", "curl", "fetches on machines"},
	{"ping", "iputils-ping", "pings on machines"},
	{"python3", "python3", "serves on machines: python3 -m http.server"},
	{"ip", "iproute2", "shows a machine's addresses and routes"},
}

// diagnose puts findings together; programs is what keeps them from running on
// hosts.
func diagnose(checks []machine.Check, programs error, lookPath func(string) (string, error)) *diagnosis {
	d := &diagnosis{}
	d.Why, d.Machines = lab.MachinesAllowed(checks)
	for i, c := range checks {
		f := finding{Name: c.Name, OK: c.OK, Detail: c.Detail, Needed: i == 0 || i > 2}
		if !c.OK {
			f.Do = remedies[c.Name]
		}
		d.Findings = append(d.Findings, f)
	}
	d.Findings = append(d.Findings, programsOnHosts(programs))
	for _, p := range tools {
		f := finding{Name: p.name, Detail: p.use}
		if path, err := lookPath(p.name); err == nil {
			f.OK, f.Detail = true, path
		} else {
			f.Detail, f.Do = "not in PATH; it "+p.use, "on Debian: apt-get install "+p.pkg
		}
		d.Findings = append(d.Findings, f)
	}
	kernel := finding{Name: "kernel", OK: true, Detail: runtime.GOOS + " " + setting("/proc/sys/kernel/osrelease")}
	if runtime.GOOS != "linux" {
		kernel.OK, kernel.Do = false, "machines need Linux; hosts and cables do not"
	}
	d.Findings = append(d.Findings, kernel, finding{Name: "go", OK: true, Detail: "this program was built with " + runtime.Version()})
	return d
}

// programsOnHosts tells whether towpath run works here.
func programsOnHosts(err error) finding {
	f := finding{Name: "programs on hosts", OK: err == nil, Detail: "towpath run can serve the sockets of programs"}
	if err != nil {
		f.Detail, f.Do = err.Error(), "what it says, or run programs on nodes of kind: machine"
	}
	return f
}

func setting(file string) string {
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}

// print writes a line a finding.
func (d *diagnosis) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.Findings {
		word, do := "ok", ""
		if !f.OK {
			word = "missing"
			do = "; to do: " + f.Do
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\n", word, f.Name, strings.ReplaceAll(f.Detail, "\n", " "), do)
	}
	t.Flush()
	if d.Machines {
		fmt.Fprintln(w, "labs with machines can run")
	}
}
