# The page of the progress, kept by the process that runs the workflow; jobs have no part in it
PAGE = PageKeeper(EXPERIMENT)


onstart:
    PAGE.start()


onsuccess:
    PAGE.stop()


onerror:
    PAGE.stop()
    print(last_words(EXPERIMENT), file=sys.stderr)
