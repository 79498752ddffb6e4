package cable_test

import (
	"testing"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/linktest"
)

func TestDriver(t *testing.T) {
	for name, c := range map[string]cable.Config{"whole": {}, "plain": {Plain: true}, "jumbo": {MTU: 9000}} {
		t.Run(name, func(t *testing.T) {
			linktest.Run(t, func(*testing.T) (a, b link.Miniport) { return cable.New(c) })
		})
	}
}
