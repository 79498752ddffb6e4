package netem_test

import (
	"fmt"

	"github.com/towpath/towpath/link/netem"
)

func ExampleParse() {
	im, err := netem.Parse("delay 10ms jitter 2ms normal, loss 1%, rate 10mbit")
	fmt.Println(im, err)
	_, err = netem.Parse("loss 120%")
	fmt.Println(err)
	// Output:
	// delay 10ms, jitter 2ms, distribution normal, loss 1%, rate 10mbit <nil>
	// loss 120%: a percentage is between 0 and 100
}
