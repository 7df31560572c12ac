"""Reading and writing what people have: stills (`stills`) and clips (`video`)."""
