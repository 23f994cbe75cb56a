# Writes the migrations given, in their order, as a C array of strings.
FNR == 1 { printf "%s", (NR == 1 ? "#include \"shared/database/schema.h\"\n\nconst char *const schema_migrations[] = {\n" : ",\n") }
{ gsub(/\\/, "&&"); gsub(/"/, "\\\""); print "\t\"" $0 "\\n\"" }
END { print "};\n\nconst int schema_version = sizeof(schema_migrations) / sizeof(schema_migrations[0]);" }
