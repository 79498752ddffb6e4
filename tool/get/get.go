// Package get is the tool that fetches a URL over a host's own TCP: get
// [-o FILE] [-q] [-m LIMIT] URL. It prints what it got, and on Stderr one line
// that sums it up. A status from 400 on is a failure.
package get

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/towpath/towpath/tool"
)

// Tool is get.
var Tool = tool.Tool{
	Name:  "get",
	Usage: "get [-o FILE] [-q] [-m DURATION] URL",
	Short: "fetches a URL by HTTP and prints it",
	Parse: func(args []string) (tool.Run, error) {
		g, err := Parse(args)
		if err != nil {
			return nil, err
		}
		return g.Run, nil
	},
}

// Get is what to fetch, and where to put it.
type Get struct {
	URL   *url.URL
	File  string        // to write to; empty: Stdout
	Quiet bool          // print no content
	Limit time.Duration // for the whole transfer
}

// Parse reads get's arguments.
func Parse(args []string) (*Get, error) {
	g := &Get{}
	f := flag.NewFlagSet("get", flag.ContinueOnError)
	f.StringVar(&g.File, "o", "", "")
	f.BoolVar(&g.Quiet, "q", false, "")
	f.DurationVar(&g.Limit, "m", 30*time.Second, "")
	rest, err := tool.ParseFlags(f, args)
	if err != nil {
		return nil, err
	}
	if len(rest) != 1 {
		return nil, fmt.Errorf("one URL is wanted, there are %d", len(rest))
	}
	g.URL, err = url.Parse(rest[0])
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL", rest[0])
	case g.URL.Scheme != "http" || g.URL.Host == "":
		return nil, fmt.Errorf("%q is not a URL that begins with http://", rest[0])
	}
	return g, nil
}

// Run fetches.
func (g *Get) Run(ctx context.Context, e *tool.Env) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.Limit, fmt.Errorf("no complete answer within %v", g.Limit))
	defer cancel()
	transport := &http.Transport{DialContext: e.Host.DialContext, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "towpath-get")
	begin := e.Host.Clock().Now()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := g.save(e, resp.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	took := e.Host.Clock().Now() - begin
	fmt.Fprintf(e.Stderr, "%s %s, %d bytes in %v\n", resp.Proto, resp.Status, n, took.Round(10*time.Microsecond))
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil
}

func (g *Get) save(e *tool.Env, body io.Reader) (n int64, err error) {
	switch {
	case g.File != "":
		f, err := os.Create(g.File)
		if err != nil {
			return 0, err
		}
		n, err = io.Copy(f, body)
		return n, errors.Join(err, f.Close())
	case g.Quiet:
		return io.Copy(io.Discard, body)
	}
	return io.Copy(e.Stdout, body)
}
