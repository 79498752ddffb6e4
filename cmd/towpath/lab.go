package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/control"
	"github.com/towpath/towpath/lab"
)

// closeMax bounds the taking down of a lab.
const closeMax = 15 * time.Second

func labCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Networks from a file",
		Long: `A lab is a network described in one YAML file: towpath hosts, real machines, and
the links between them. It runs as an ordinary user and leaves nothing behind.

  name: first
  nodes:
    alice: {addresses: {eth0: 10.0.0.1/24}, run: ["ping -c 3 bob"]}
    bob:   {addresses: {eth0: 10.0.0.2/24}}
  links:
    - {endpoints: ["alice:eth0", "bob:eth0"]}`,
		Args: known,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(labUpCommand(), labTestCommand(), labCheckCommand(), labGraphCommand(), labSchemaCommand())
	c.AddCommand(labControlCommands()...)
	return c
}

// known refuses words that are no commands. Cobra does so for the root only.
func known(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	hint := "see " + c.CommandPath() + " --help"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return fmt.Errorf("unknown command %q for %q; %s", args[0], c.CommandPath(), hint)
}

func labCheckCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Find the mistakes in a lab file, and start nothing",
		Args:  oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			spec, err := load(c, args[0], asJSON)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), spec.Document())
			}
			spec.Describe(c.OutOrStdout())
			return nil
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func labGraphCommand() *cobra.Command {
	var svg bool
	c := &cobra.Command{
		Use:   "graph FILE",
		Short: "Show who is connected with whom, in text or as a drawing",
		Args:  oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			spec, err := load(c, args[0], false)
			if err != nil {
				return err
			}
			if svg {
				return spec.SVG(c.OutOrStdout())
			}
			spec.Graph(c.OutOrStdout())
			return nil
		},
	}
	c.Flags().BoolVar(&svg, "svg", false, "print a drawing, as SVG")
	return c
}

func labSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of lab files, for editors",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(lab.Schema())
			return err
		},
	}
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print one JSON document at the end, and what programs print to standard error")
}

func labUpCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Bring a lab up until its programs end, or Ctrl-C",
		Long: `Bring the network of FILE up, try its expectations, and run its programs. When
they have ended, or with Ctrl-C, everything is taken down and a summary printed.
The exit status is 0 if every program ended well and every expectation was met,
1 if not or if the lab could not be brought up, and 2 if the file has mistakes.`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			if o.detach {
				return detach(c, args[0], o)
			}
			return up(c, args[0], o)
		},
	}
	jsonFlag(c, &o.json)
	c.Flags().BoolVarP(&o.detach, "detach", "d", false, "go to the background once the lab is up, until lab down; programs under run are run there")
	c.Flags().BoolVar(&o.drops, "drops", false, "print each packet that a host drops, and why")
	captureFlags(c, &o, "write the packets of each link and the output of each program to files in this `directory`")
	return c
}

func labTestCommand() *cobra.Command {
	o := options{test: true}
	c := &cobra.Command{
		Use:   "test FILE",
		Short: "Bring a lab up and try its expectations",
		Long: `Bring the network of FILE up with its services, try its expectations, print what
became of them, and take everything down. Commands under run are not run. The
exit status is 0 if every expectation was met, 1 if one was not or the lab could
not be brought up, and 2 if the file has mistakes. Captures and the output of
programs are kept if something failed, or if -w says where.`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return up(c, args[0], o) },
	}
	jsonFlag(c, &o.json)
	captureFlags(c, &o, "keep captures and output in this `directory`, whatever the outcome")
	return c
}

func captureFlags(c *cobra.Command, o *options, usage string) {
	c.Flags().StringVarP(&o.captures, "write", "w", "", usage)
	c.Flags().BoolVar(&o.pcap, "pcap", false, "write captures as pcap instead of pcapng")
}

func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: one file is wanted, there are %d; write %s", c.CommandPath(), len(args), c.UseLine())
	}
	return nil
}

// load reads a lab file and prints the warnings. With asJSON, mistakes are
// printed as a document too.
func load(c *cobra.Command, file string, asJSON bool) (*lab.Spec, error) {
	spec, err := lab.Load(file)
	if err != nil {
		var mistakes lab.Errors
		if errors.As(err, &mistakes) && asJSON {
			return nil, errors.Join(err, printJSON(c.OutOrStdout(), lab.Mistaken(file, mistakes)))
		}
		return nil, err
	}
	if !asJSON {
		for _, w := range spec.Warnings {
			fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w.Detail())
		}
	}
	return spec, nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// options shape up and test.
type options struct {
	test     bool   // expectations only
	captures string // directory; empty: none
	pcap     bool
	json     bool
	detach   bool // the lab is to be in the background
	drops    bool // are printed
}

// up brings a lab up, tries its expectations, runs its programs and takes it
// down.
func up(c *cobra.Command, file string, o options) (err error) {
	spec, err := load(c, file, o.json)
	if err != nil {
		return err
	}
	if o.test && len(spec.Expect) == 0 {
		return fmt.Errorf("%s has no expectations; write some, such as expect: [{from: %s, ping: %s}]", file, spec.Nodes[0].Name, spec.Nodes[len(spec.Nodes)-1].Name)
	}
	kept := o.captures != ""
	if o.test && !kept {
		if o.captures, err = os.MkdirTemp("", "towpath-"+spec.Name+"-"); err != nil {
			return &failed{err}
		}
		defer func() {
			if err == nil {
				os.RemoveAll(o.captures)
				return
			}
			fmt.Fprintf(c.ErrOrStderr(), "captures and output are kept in %s\n", o.captures)
		}()
	}
	r := &runner{options: o, spec: spec, stdout: c.OutOrStdout(), report: c.OutOrStdout(), ready: openReadiness()}
	defer func() { r.ready.end(err) }()
	if r.ready != nil {
		r.stdout, r.report = io.Discard, io.Discard // they are in the lab's journal
	}
	if o.json {
		r.stdout = c.ErrOrStderr()
		r.report = io.Discard
	}
	net, err := r.run(c.Context(), progress(c.ErrOrStderr()))
	if o.json {
		doc := spec.Document()
		if net != nil {
			doc = net.Document(err)
		} else if err != nil {
			doc.OK, doc.Error = false, err.Error()
		}
		err = errors.Join(err, printJSON(c.OutOrStdout(), doc))
	}
	if err != nil {
		return &failed{err}
	}
	return nil
}

// A runner runs one lab.
type runner struct {
	options
	spec   *lab.Spec
	stdout io.Writer // of programs
	report io.Writer // for people
	ready  *readiness
}

// run brings the lab up, tries, runs and takes down. The lab is nil if it was
// never up.
func (r *runner) run(ctx context.Context, p *progressLine) (*lab.Net, error) {
	if !r.test {
		r.spec.Describe(r.report)
	}
	o := lab.Options{CaptureDir: r.captures, Pcap: r.pcap, Output: p.before(r.stdout), Progress: p.step, Drops: r.drops}
	if r.test {
		o.Output = nil // it is in the logs
	}
	net, err := lab.Up(ctx, r.spec, o)
	p.clear()
	if err != nil {
		return nil, err
	}
	ctx, down := context.WithCancelCause(ctx)
	defer down(nil)
	closeControl := r.control(net, func() { down(errDown) })
	err = r.expect(ctx, net)
	if !r.test && ctx.Err() == nil {
		err = errors.Join(err, r.programs(ctx, net))
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
		if !r.test && !r.spec.Runs() || context.Cause(ctx) == errDown {
			err = nil // which is how such a lab ends
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	err = errors.Join(err, net.Close(closing))
	closeControl()
	s := net.Summary()
	if !r.test {
		fmt.Fprintln(r.report)
		s.Print(r.report)
	}
	return net, err
}

// errDown is why a lab ends that was asked to.
var errDown = errors.New("taken down")

// control lets other processes speak to the lab. One that cannot be spoken to
// is up all the same, unless it is to be in the background.
func (r *runner) control(net *lab.Net, down func()) (done func()) {
	if r.test {
		return func() {}
	}
	s, err := control.Listen(net, control.Options{Down: down})
	if err != nil {
		if r.ready != nil {
			r.ready.tell(err.Error())
			down()
			return func() {}
		}
		fmt.Fprintf(r.report, "the lab cannot be spoken to by others: %v\n", err)
		return func() {}
	}
	if r.ready != nil {
		r.ready.name = s.Name()
	}
	return func() { s.Close() }
}

// expect tries the lab's expectations and prints what became of them.
func (r *runner) expect(ctx context.Context, net *lab.Net) error {
	all, err := net.Expect(ctx)
	lab.PrintOutcomes(r.report, all)
	return err
}

// programs runs the lists of commands.
func (r *runner) programs(ctx context.Context, net *lab.Net) error {
	if r.captures != "" {
		pattern := "*.pcapng"
		if r.pcap {
			pattern = "*.pcap"
		}
		fmt.Fprintf(r.report, "captures: %s\n", filepath.Join(r.captures, pattern))
	}
	if !r.spec.Runs() {
		fmt.Fprintln(r.report, "up; end it with Ctrl-C")
	}
	r.ready.tell("")
	fmt.Fprintln(r.report)
	err := net.Run(ctx)
	if r.ready != nil {
		<-ctx.Done() // a lab in the background stays
	}
	return err
}
