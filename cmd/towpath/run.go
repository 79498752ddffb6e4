package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/service/echo"
	"github.com/towpath/towpath/service/http"
)

// termMax is how long a program has to end after SIGTERM.
const termMax = 2 * time.Second

// Exit statuses for programs that are not started, as shells have them.
const (
	notRunnable = 126
	notFound    = 127
)

// runOptions shape the host of towpath run.
type runOptions struct {
	name      string
	addresses []string
	names     []string
	serve     []string
}

func runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a program whose sockets are a towpath host's",
		Long: `Run an unmodified program, and all that it starts, on a host of its own: its TCP
and UDP sockets are served by towpath and reach nothing but this host. When the
program ends, what it has started ends too. The exit status is the program's, 127
if there is no such program, and 126 if it cannot be run.

  towpath run --serve "http ./site" -- curl http://127.0.0.1/
  towpath run -- sh -c 'python3 -m http.server 8000 & sleep 1; curl http://127.0.0.1:8000/'

It is no sandbox. towpath doctor says whether this system allows it.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("a program is wanted; write towpath run -- curl http://127.0.0.1/")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runProgram(c, &o, args) },
	}
	c.Flags().SetInterspersed(false)
	c.Flags().StringVar(&o.name, "name", "towpath", "the host's `name`")
	c.Flags().StringArrayVar(&o.addresses, "address", nil, "one more `address` of the host; may be given again")
	c.Flags().StringArrayVar(&o.names, "host", nil, "a `NAME=ADDRESS` that resolves there; may be given again")
	c.Flags().StringArrayVar(&o.serve, "serve", nil, `a built-in `+"`service`"+`, as in lab files: "http ./site"; may be given again`)
	return c
}

func runProgram(c *cobra.Command, o *runOptions, args []string) (err error) {
	h := host.New(host.Config{Name: o.name})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeMax)
		defer cancel()
		if e := h.Close(ctx); err == nil {
			err = e
		}
	}()
	if err := o.configure(h); err != nil {
		return err
	}
	for _, text := range o.serve {
		s, err := startService(h, text)
		if err != nil {
			return err
		}
		defer s.Close()
	}
	p, err := run.Start(h, run.Cmd{
		Args: args, Stdin: os.Stdin, Stdout: c.OutOrStdout(), Stderr: c.ErrOrStderr(),
		Warn: func(text string) { fmt.Fprintln(os.Stderr, "towpath:", text) },
	})
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "towpath: %s: %v\n", args[0], err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return exitStatus(notFound)
		}
		return exitStatus(notRunnable)
	}
	select {
	case <-p.Done():
	case <-c.Context().Done():
		p.Signal(syscall.SIGTERM)
		t := time.AfterFunc(termMax, p.Kill)
		<-p.Done()
		t.Stop()
	}
	return p.Wait()
}

// configure gives the host its addresses and names.
func (o *runOptions) configure(h *host.Host) error {
	for _, text := range o.addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err != nil {
				return fmt.Errorf("--address %s: %w", text, err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if err := h.AddAddress(host.LoopbackName, p); err != nil {
			return fmt.Errorf("--address %s: %w", text, err)
		}
	}
	for _, text := range o.names {
		name, addr, _ := strings.Cut(text, "=")
		a, err := netip.ParseAddr(addr)
		if err == nil {
			err = h.AddName(name, a)
		}
		if err != nil {
			return fmt.Errorf("--host %s: write NAME=ADDRESS: %w", text, err)
		}
	}
	return nil
}

// startService starts a built-in service.
func startService(h *host.Host, text string) (service.Running, error) {
	words := strings.Fields(text)
	for _, s := range []service.Service{echo.Service, http.Service} {
		if len(words) == 0 || words[0] != s.Name {
			continue
		}
		start, err := s.Parse(words[1:], service.Options{})
		if err != nil {
			return nil, fmt.Errorf("--serve %s: %w; write %s", s.Name, err, s.Usage)
		}
		return start(&service.Env{Host: h, Log: os.Stderr})
	}
	return nil, fmt.Errorf("--serve %q: there is no such service; there are %s and %s", text, echo.Service.Name, http.Service.Name)
}
