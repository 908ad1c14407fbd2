"""Word lists that random material is drawn from."""

from __future__ import annotations

CONSONANTS = "bcdfghjklmnprstvwz"
VOWELS = "aeiou"

ENGLISH = (
    "the of and to in is you that it he was for on are with as his they be at one have this from or had by hot but "
    "some what there we can out other were all your when up use word how said an each she which do their time if will "
    "way about many then them would write like so these her long make thing see him two has look more day could go "
    "come did my sound no most number who over know water than call first people may down side been now find any new "
    "work part take get place made live where after back little only round man year came show every good me give our "
    "under name very through just form much great think say help low line before turn cause same mean differ move "
    "right boy old too does tell sentence set three want air well also play small end put home read hand port large "
    "spell add even land here must big high such follow act why ask men change went light kind off need house picture "
    "try us again animal point mother world near build self earth father head stand own page should country found "
    "answer school grow study still learn plant cover food sun four thought let keep eye never last door between city "
    "tree cross since hard start might story saw far sea draw left late run while press close night real life few "
    "stop open seem together next white children begin got walk example ease paper often always music those both mark "
    "book letter until mile river car feet care second group carry took rain eat room friend began idea fish mountain "
    "north once base hear horse cut sure watch color face wood main enough plain girl usual young ready above ever red "
    "list though feel talk bird soon body dog family direct pose leave song measure state product black short class "
    "wind question happen complete ship area half rock order fire south problem piece told knew pass farm top whole "
    "king size heard best hour better true during hundred five remember step early hold west ground interest reach "
    "fast sing listen six table travel less morning ten simple several vowel toward war lay against pattern slow "
    "center love person money serve appear road map science rule govern pull cold notice voice fall power town fine "
    "certain fly unit lead cry dark machine note wait plan figure star box noun field rest correct able pound done "
    "beauty drive stood contain front teach week final gave green quick develop ocean warm free minute strong special "
    "mind behind clear tail produce fact street inch lot nothing course stay wheel full force blue object decide "
    "surface deep moon island foot yet busy test record boat common gold possible plane age dry wonder laugh thousand "
    "ago ran check game shape yes cool miss brought heat snow bed bring sit perhaps fill east weight language among "
    "order invoice account profile search filter product price cart checkout shipping payment address customer review "
    "rating image gallery video download upload report summary detail settings login register contact about news "
    "article category tag comment reply message inbox calendar event ticket booking hotel flight summer winter sale "
    "discount coupon newsletter subscribe premium basic account balance transfer bank card credit loan insurance"
).split()

FIRST_NAMES = (
    "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Anna "
    "Thomas Sarah Karen Nancy Lisa Daniel Matthew Anthony Mark Sandra Ashley Emily Paul Andrew Joshua Kevin Brian Emma "
    "Olivia Noah Liam Sofia Mateo Lucas Mia Hannah Jonas Felix Lena Marie Pierre Camille Chloe Hugo Giulia Marco Paolo "
    "Francesca Carlos Lucia Javier Carmen Ivan Olga Dmitri Natasha Piotr Agnieszka Tomasz Jan Katarzyna Yuki Haruto "
    "Sakura Kenji Wei Li Na Chen Jing Min-jun Seo-yeon Ahmed Fatima Omar Layla Yusuf Aisha Noam Tamar Yael Eitan Rohan "
    "Priya Arjun Ananya Thabo Amara Kwame Zainab Bjorn Astrid Lars Ingrid Sven Freya Aoife Siobhan Ciaran Rhys"
).split()

LAST_NAMES = (
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson "
    "Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson "
    "Walker Young Allen King Wright Scott Torres Nguyen Hill Flores "
    "Green Adams Nelson Baker Hall Rivera Campbell Mitchell "
    "Carter Roberts Muller Schmidt Schneider Fischer Weber Meyer Wagner Becker Hoffmann Dubois Moreau Laurent Rossi "
    "Russo Ferrari Esposito Bianchi Kowalski Nowak Novak Horvat Ivanov Petrov Tanaka Suzuki Sato Kim Park Choi Wang "
    "Zhang Liu Chen Yang Singh Patel Kumar Sharma Cohen Levi Mizrahi Haddad Hassan Okafor Mensah Andersen Nilsson"
).split()

COMPANIES = (
    "acme globex initech umbrella hooli contoso fabrikam northwind tailspin wingtip litware adventure proseware "
    "vandelay stark wayne cyberdyne soylent massive dynamics aperture blackmesa tyrell monarch oscorp pied piper "
    "sterling cooper dunder mifflin vehement gringotts oceanic wonka duff bluth zorin nakatomi virtucon"
).split()

TLDS = (
    "com com com net org io co dev app xyz info biz me us uk de fr it es nl be ch at pl cz ru cn jp kr in br mx ar au "
    "nz ca se no fi dk il tr gr pt ro hu co.uk com.au co.jp com.br co.il co.in com.cn org.uk ac.uk online site shop "
    "store tech club live pro top cloud edu gov"
).split()

PARAMETERS = (
    "id q s query search page p name user username email pass password token key lang locale sort order filter limit "
    "offset start end from to date type category cat tag status view action cmd method format file path dir url uri "
    "link next redirect return returnUrl continue dest target callback ref source src img image title subject body "
    "message msg text comment content description note value data payload json xml template tpl theme style color size "
    "width height lat lng city country state zip address phone mobile company product item sku price qty quantity cart "
    "session sid uid pid cid aid gid hash sig timestamp ts t v version debug test mode step tab section module "
    "controller option task func function include load read download document doc report export import host domain ip "
    "port login redirect_uri client_id scope code nonce grant_type keyword term year month day hour time zone field "
    "column table db group role level parent child node tree list array index count total min max sum avg rating score "
    "vote answer question survey poll form input select check radio submit"
).split()

TABLES = (
    "users user admin admins accounts account members member customers customer orders order products product items "
    "item posts post comments comment articles article news pages page settings config options wp_users wp_options "
    "wp_posts tbl_user tbluser login logins credentials passwords sessions session tokens cards credit_cards payments "
    "invoices employees employee emp dept dual sys.dual students student clients client people person "
    "information_schema.tables information_schema.columns mysql.user mysql.db pg_user pg_shadow pg_tables "
    "pg_catalog.pg_class sqlite_master sysobjects syscolumns sys.databases master..sysdatabases "
    "all_tables all_tab_columns user_tables v$version "
    "sys.user$ pg_database sysusers sysibm.sysdummy1 syscat.tables jos_users phpbb_users ofusers tuser t_user sys_user"
).split()

COLUMNS = (
    "id user_id uid username user_name name login email mail password passwd pass pwd hash salt token secret role "
    "is_admin admin level status active created_at first_name last_name phone address city country price total qty "
    "title body content description card_number cvv ssn birthdate table_name column_name schema_name table_schema "
    "tbl_name sql usename passwd datname version user host user_login user_pass user_email authentication_string"
).split()
