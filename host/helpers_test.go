package host_test

import "github.com/towpath/towpath/link/cable"

func cableConfig() cable.Config { return cable.Config{} }

func narrowCable() (a, b *cable.Port) { return cable.New(cable.Config{MTU: 600}) }
