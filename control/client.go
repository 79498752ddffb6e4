package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// goneEvery is the time between two looks for the socket of a lab that goes down.
const goneEvery = 5 * time.Millisecond

// A Client speaks to a lab that is up.
type Client struct {
	name string
	file string // its socket
	http *http.Client
}

// Dial finds a lab by its name; with an empty name, the only one there is.
func Dial(name string) (*Client, error) {
	all, err := Labs()
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, errors.New("no lab is up; bring one up with towpath lab up -d FILE")
	case name == "" && len(all) > 1:
		return nil, fmt.Errorf("several labs are up; say which, of %s", strings.Join(all, ", "))
	case name == "":
		name = all[0]
	case !slices.Contains(all, name):
		return nil, fmt.Errorf("no lab %q is up; there is %s", name, strings.Join(all, ", "))
	}
	file := filepath.Join(Dir(), name+suffix)
	return &Client{name: name, file: file, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", file)
		},
		DisableKeepAlives: true,
	}}}, nil
}

// Name is the lab's name.
func (c *Client) Name() string { return c.name }

// do sends a request and returns the answer if it is a good one. The caller
// closes it.
func (c *Client) do(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var b io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		b = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, b)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("lab %s: %w", c.name, err)
	}
	if answer.StatusCode >= 400 {
		defer answer.Body.Close()
		var f failure
		if json.NewDecoder(io.LimitReader(answer.Body, bodyMax)).Decode(&f) != nil || f.Error == "" {
			f.Error = answer.Status
		}
		return nil, errors.New(f.Error)
	}
	return answer, nil
}

// Get reads the object at a path into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	a, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	return json.NewDecoder(a.Body).Decode(v)
}

// Stream copies what is at a path, as text or as it is, until it ends.
func (c *Client) Stream(ctx context.Context, path string, text bool, w io.Writer) error {
	header := http.Header{}
	if text {
		header.Set("Accept", "text/plain")
	}
	a, err := c.do(ctx, http.MethodGet, path, nil, header)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, err = io.Copy(w, a.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the lab went down
	}
	return err
}

// Do does something to the lab, in the words of a lab file's events.
func (c *Client) Do(ctx context.Context, action string) error {
	a, err := c.do(ctx, http.MethodPost, "/v1/actions", Do{action}, nil)
	if err != nil {
		return err
	}
	return a.Body.Close()
}

// Down takes the lab down, and returns once its socket is gone.
func (c *Client) Down(ctx context.Context) error {
	events, err := c.do(ctx, http.MethodGet, "/v1/events?follow&kind=none", nil, nil)
	if err != nil {
		return err
	}
	defer events.Body.Close()
	a, err := c.do(ctx, http.MethodPost, "/v1/down", nil, nil)
	if err != nil {
		return err
	}
	a.Body.Close()
	io.Copy(io.Discard, events.Body) // until the lab is down
	for begin := time.Now(); time.Since(begin) < closeMax; time.Sleep(goneEvery) {
		if _, err := os.Stat(c.file); err != nil {
			break
		}
	}
	return ctx.Err()
}

// Exec runs a program on a node and returns its exit status. It is started in
// dir; empty means the lab file's directory. Stdin may be nil; a read of it that
// does not return is left behind.
func (c *Client) Exec(ctx context.Context, node, dir string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgrade}}
	a, err := c.do(context.WithoutCancel(ctx), http.MethodPost, "/v1/exec", nil, header)
	if err != nil {
		return 0, err
	}
	conn, ok := a.Body.(io.ReadWriteCloser)
	if !ok {
		a.Body.Close()
		return 0, fmt.Errorf("lab %s does not run programs: %s", c.name, a.Status)
	}
	defer conn.Close()
	out := newFrames(conn)
	if err := out.send(Frame{Node: node, Args: args, Dir: dir}); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { out.send(Frame{Stop: true}) })()
	go feed(out, stdin)
	d := json.NewDecoder(&lineReader{r: bufio.NewReader(conn)})
	for {
		var f Frame
		if err := d.Decode(&f); err != nil {
			if err == io.EOF {
				err = errors.New("the lab went down")
			}
			return 0, err
		}
		stdout.Write(f.Stdout)
		stderr.Write(f.Stderr)
		switch {
		case f.Error != "" && ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case f.Error != "":
			return 0, errors.New(f.Error)
		case f.Exit != nil:
			return *f.Exit, nil
		}
	}
}

// feed sends a program's input.
func feed(out *frames, stdin io.Reader) {
	if stdin != nil {
		b := make([]byte, pieceMax)
		for {
			n, err := stdin.Read(b)
			if n > 0 && out.send(Frame{Stdin: b[:n]}) != nil {
				return
			}
			if err != nil {
				break
			}
		}
	}
	out.send(Frame{End: true})
}
