// Package sleep is the tool that waits: sleep DURATION, on the host's clock.
package sleep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/towpath/towpath/tool"
)

// Tool is sleep.
var Tool = tool.Tool{
	Name:  "sleep",
	Usage: "sleep DURATION",
	Short: "waits, for example 500ms or 2s",
	Parse: parse,
}

func parse(args []string) (tool.Run, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("%d arguments", len(args))
	}
	d, err := time.ParseDuration(args[0])
	if n, e := strconv.ParseFloat(args[0], 64); e == nil {
		d, err = time.Duration(n*float64(time.Second)), nil // seconds, as in coreutils
	}
	if err != nil || d < 0 {
		return nil, errors.New("a duration is a number with a unit, such as 500ms or 2s")
	}
	return func(ctx context.Context, e *tool.Env) error {
		done := make(chan struct{})
		t := e.Host.Clock().AfterFunc(d, func() { close(done) })
		defer t.Stop()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}
