package lab

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Graph writes who is connected with whom, in text.
func (s *Spec) Graph(w io.Writer) {
	fmt.Fprintf(w, "%s\n", s.Name)
	for _, n := range s.everyone() {
		kind := n.Kind.String()
		if n.Forward {
			kind += ", router"
		}
		fmt.Fprintf(w, "\n%s (%s)\n", n.Name, kind)
		for k, i := range n.Interfaces {
			branch := "├─"
			if k == len(n.Interfaces)-1 {
				branch = "└─"
			}
			peer := i.Link.Peer(i)
			fmt.Fprintf(w, "%s %s%s ── %v%s%s\n", branch, i.Name, i.addressText(), peer, peer.addressText(), i.Link.vlanText()+i.Link.impairText())
		}
	}
}

// everyone is all nodes and switches, in the order of the file.
func (s *Spec) everyone() []*Node {
	all := slices.Clone(s.Nodes)
	for _, w := range s.Switches {
		all = append(all, w.Node)
	}
	return all
}

func (i *Interface) addressText() string {
	text := ""
	for _, a := range i.Addresses {
		text += " " + a.String()
	}
	return text
}

// Sizes of a drawing, in SVG's units.
const (
	boxWidth, boxHeight   = 150, 44
	columnWidth           = 330
	rowHeight             = 74
	margin                = 24
	lineHeight, letterTop = 15, 17
)

// A spot is a node's place in a drawing.
type spot struct{ column, row int }

// SVG writes a drawing of the network. Nodes stand in columns, by how many links
// they are away from the one with the most.
func (s *Spec) SVG(w io.Writer) error {
	spots, columns, rows := s.layout()
	x := func(n *Node) int { return margin + spots[n].column*columnWidth }
	y := func(n *Node) int { return margin + spots[n].row*rowHeight }
	var b strings.Builder
	width, height := 2*margin+(columns-1)*columnWidth+boxWidth, 2*margin+(rows-1)*rowHeight+boxHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", escape(s.Name))
	for _, l := range s.Links {
		a, z := l.Ends[0].Node, l.Ends[1].Node
		if spots[a].column > spots[z].column {
			a, z = z, a
		}
		x1, y1, x2, y2 := x(a)+boxWidth, y(a)+boxHeight/2, x(z), y(z)+boxHeight/2
		if spots[a].column == spots[z].column {
			x2 = x1
		}
		fmt.Fprintf(&b, "<path d=\"M%d %d C%d %d %d %d %d %d\" fill=\"none\" stroke=\"#888\"/>\n", x1, y1, x1+50, y1, x2-50, y2, x2, y2)
		if text := strings.TrimPrefix(l.vlanText()+l.impairText(), ", "); text != "" {
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#a40\">%s</text>\n", (x1+x2)/2, (y1+y2)/2-4, escape(text))
		}
	}
	fill := []string{Host: "#e8f1fb", Machine: "#fdf0dd", kindSwitch: "#eeeeee"}
	for _, n := range s.everyone() {
		fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" fill=\"%s\" stroke=\"#444\"/>\n", x(n), y(n), boxWidth, boxHeight, fill[n.Kind])
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", x(n)+8, y(n)+letterTop, escape(n.Name))
		text := n.Kind.String()
		if len(n.Interfaces) > 0 && len(n.Interfaces[0].Addresses) > 0 {
			text = n.Interfaces[0].Addresses[0].String()
		}
		if more := len(n.Interfaces); more > 1 && n.Kind != kindSwitch {
			text += fmt.Sprintf(" +%d", more-1)
		}
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" fill=\"#444\">%s</text>\n", x(n)+8, y(n)+letterTop+lineHeight, escape(text))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// layout puts the nodes into columns, and below each other.
func (s *Spec) layout() (spots map[*Node]spot, columns, rows int) {
	spots = map[*Node]spot{}
	used := []int{} // rows of each column
	all := s.everyone()
	slices.SortStableFunc(all, func(a, b *Node) int { return cmp.Compare(len(b.Interfaces), len(a.Interfaces)) })
	for _, root := range all {
		if _, done := spots[root]; done {
			continue
		}
		top := rows // a part that is not connected with the others stands below them
		queue := []*Node{root}
		place := func(n *Node, column int) {
			for len(used) <= column {
				used = append(used, 0)
			}
			used[column] = max(used[column], top)
			spots[n] = spot{column, used[column]}
			used[column]++
			columns, rows = max(columns, column+1), max(rows, used[column])
		}
		place(root, 0)
		for len(queue) > 0 {
			n := queue[0]
			queue = queue[1:]
			for _, i := range n.Interfaces {
				peer := i.Link.Peer(i).Node
				if _, done := spots[peer]; !done {
					place(peer, spots[n].column+1)
					queue = append(queue, peer)
				}
			}
		}
	}
	return spots, columns, rows
}

// escape makes a text one of XML.
func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
