package loop_test

import (
	"testing"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/linktest"
	"github.com/towpath/towpath/link/loop"
)

func TestDriver(t *testing.T) {
	linktest.Run(t, func(*testing.T) (a, b link.Miniport) {
		d := loop.New()
		return d, d
	})
}
