package tcp
import ("os";"strconv")
func init(){ if n,_:=strconv.Atoi(os.Getenv("SEEDS")); n>0 { simSeeds=n } }
